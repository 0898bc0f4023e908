//! The faults that the Worker logged: not a verdict, but where one would begin to look.

use serde_json::Value;
use std::collections::BTreeMap;

/// How often each kind of fault is in the log. A line of a fault is a JSON object with `event` and `detail`.
pub fn faults(log: &str) -> BTreeMap<String, usize> {
    let mut faults = BTreeMap::new();
    for line in log.lines() {
        let json = line.find('{').and_then(|start| line.get(start..)).unwrap_or_default();
        let line: Value = serde_json::from_str(json).unwrap_or_default();
        if let (Some(event), Some(_)) = (line.get("event").and_then(Value::as_str), line.get("detail")) {
            *faults.entry(event.to_owned()).or_default() += 1;
        }
    }
    faults
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn faults_are_told_from_other_lines() {
        let log = "The Workers runtime crashed unexpectedly {\n\
                   [log] {\"event\":\"request\",\"status\":200}\n\
                   [log] {\"event\":\"alarm_failed\",\"detail\":\"storage\"}\n\
                   [log] {\"event\":\"alarm_failed\",\"detail\":\"storage\"}\n";
        assert_eq!(faults(log), BTreeMap::from([("alarm_failed".to_owned(), 2)]));
    }
}
