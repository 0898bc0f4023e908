//! Where a webhook may be called: addresses of clients and operators, so nothing that is meant for one network alone, and no
//! port of a service that is no web server. What a public name resolves to is not ours to see.

use url::{Host, Url};

use super::config::{Environment, safe_url};

/// What an address is to be, in words.
pub const WEBHOOK_URL: &str = "an https URL with a public host name, at port 443 or one above 1023 that no other service \
                               has, without user, password or fragment";

/// Last labels of names that only one network or machine knows.
const INSIDE: [&str; 9] =
    ["local", "localhost", "internal", "intranet", "lan", "home", "corp", "private", "arpa"];
/// Ports below this are those of the system's own services; of them only 443 is called.
const PORT_MIN: u16 = 1_024;
/// Ports above it where something listens that is no web server of a client's: databases, caches, queues, and the
/// controls of machines and clusters.
const PORTS_OF_SERVICES: [u16; 22] = [
    1_433, 1_521, 2_049, 2_181, 2_375, 2_376, 2_379, 2_380, 3_306, 3_389, 5_432, 5_672, 5_900, 5_984, 6_379,
    6_443, 9_042, 9_092, 9_200, 10_250, 11_211, 27_017,
];

/// An address that a webhook may be sent to; `None` for every other. Loopback in development is as everywhere.
pub fn webhook_url(address: &str, environment: Environment) -> Option<Url> {
    let url = safe_url(address, environment)?;
    if url.scheme() == "http" {
        return Some(url);
    }
    let Some(Host::Domain(name)) = url.host() else { return None };
    let (rest, last) = name.rsplit_once('.')?;
    let public = !rest.is_empty() && !INSIDE.contains(&last);
    let port = url.port_or_known_default()?;
    let called = port == 443 || (port >= PORT_MIN && !PORTS_OF_SERVICES.contains(&port));
    (public && called).then_some(url)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_meant_for_one_network_is_not_called() {
        let called = |address: &str| webhook_url(address, Environment::Production).is_some();
        for good in
            ["https://x.io/", "https://hooks.x.co.uk:443/a?b", "https://x.io:8443/", "https://x.io:1024"]
        {
            assert!(called(good), "{good}");
        }
        for name in [
            "intranet",
            "printer.local",
            "metadata.google.internal",
            "a.localhost",
            "x.home.arpa",
            "LOCALHOST",
        ] {
            assert!(!called(&format!("https://{name}/")), "{name}");
            assert!(!called(&format!("https://{name}./")), "{name}.");
        }
        for port in [0, 22, 25, 80, 444, 1_023, 2_375, 6_379, 11_211] {
            assert!(!called(&format!("https://x.io:{port}/")), "{port}");
        }
        for wrong in
            ["http://x.io/", "https://10.0.0.1/", "https://[::1]/", "https://u:p@x.io/", "http://127.0.0.1/"]
        {
            assert!(!called(wrong), "{wrong}");
        }
        assert!(webhook_url("http://127.0.0.1:9/", Environment::Development).is_some());
    }
}
