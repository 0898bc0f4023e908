//! What the providers do to an ask, by the marker in its prompt.

use http_tests::client::unique_marker;
use http_tests::provider_script::{Behaviour, Completion, Ending, Usage};
use http_tests::world::World;
use std::time::Duration;

/// How the providers treat an ask, and how many of a hundred asks are treated so.
const WEATHERS: [(Weather, usize); 8] = [
    (Weather::Fair, 48),
    (Weather::FirstFails, 12),
    (Weather::AllFail, 10),
    (Weather::BreaksOff, 10),
    (Weather::Stalls, 6),
    (Weather::Slow, 6),
    (Weather::ReportsMore, 4),
    (Weather::Endless, 4),
];

/// What a provider reports that counts more than the hold was made for.
pub const REPORTED_MORE: Usage = Usage::new(300, 250);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Weather {
    Fair,
    FirstFails,
    AllFail,
    /// After some pieces, or in the middle of a body.
    BreaksOff,
    /// After some pieces, for ever.
    Stalls,
    Slow,
    /// More tokens than the hold was made for.
    ReportsMore,
    /// A stream that ends only when it is cut.
    Endless,
}

/// Markers of one run, one for each weather.
pub struct Run {
    markers: Vec<(Weather, String, usize)>,
}

impl Run {
    /// The weather of an ask whose lot is `percent`, and the marker that brings it about.
    pub fn weather(&self, mut percent: usize) -> (Weather, &str) {
        for (weather, marker, share) in &self.markers {
            if percent < *share {
                return (*weather, marker);
            }
            percent -= share;
        }
        panic!("the shares add up to a hundred")
    }
}

fn usage() -> Usage {
    Usage::new(60, 200)
}

fn fair() -> Behaviour {
    let words = Completion::numbered(8, Duration::from_millis(20)).usage(usage());
    Behaviour::late(Duration::from_millis(150), Behaviour::Complete(words))
}

fn ending(ending: Ending) -> Behaviour {
    Behaviour::Complete(Completion::numbered(6, Duration::from_millis(20)).ending(ending))
}

/// Tells every provider of `world` what to do with the markers of this run.
pub fn script(world: &World) -> Run {
    let markers: Vec<(Weather, String, usize)> =
        WEATHERS.into_iter().map(|(weather, share)| (weather, unique_marker(), share)).collect();
    for (weather, marker, _) in &markers {
        let (first, others) = match weather {
            Weather::Fair => (fair(), fair()),
            Weather::FirstFails => (Behaviour::status(503), fair()),
            Weather::AllFail => (Behaviour::status(500), Behaviour::status(429)),
            Weather::BreaksOff => (ending(Ending::Broken), ending(Ending::Broken)),
            Weather::Stalls => (ending(Ending::Stalled), fair()),
            Weather::Slow => (Behaviour::late(Duration::from_secs(2), fair()), fair()),
            Weather::ReportsMore => {
                let answer = || Behaviour::answer("few words", REPORTED_MORE);
                (answer(), answer())
            }
            Weather::Endless => {
                let words = || Completion::numbered(200, Duration::from_millis(1)).ending(Ending::Endless);
                (Behaviour::Complete(words()), Behaviour::Complete(words()))
            }
        };
        world.groq.script(marker, [first]);
        for provider in [&world.workers_ai, &world.openai, &world.local] {
            provider.script(marker, [others.clone()]);
        }
    }
    Run { markers }
}
