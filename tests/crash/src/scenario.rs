//! What the scripted providers do, by a marker in the prompt. No marker is part of another.

use http_tests::provider_script::{Behaviour, Completion, Ending, Usage};
use http_tests::world::World;
use std::time::Duration;

/// Answered at once.
pub const BRIEF: &str = "scenario-brief";
/// Answered after a moment, so that kills meet open holds.
pub const LATE: &str = "scenario-late";
/// Answered so late that most kills meet it.
pub const SLOW: &str = "scenario-slow";
/// In pieces with gaps between them.
pub const PIECES: &str = "scenario-pieces";
/// The provider tells no usage: what is charged is counted from the text.
pub const UNCOUNTED: &str = "scenario-uncounted";
/// The first provider fails, the second one answers.
pub const FALLBACK: &str = "scenario-fallback";
/// The first provider breaks off in the middle: a stream is charged for what came, a whole answer comes from the
/// second provider.
pub const BROKEN_OFF: &str = "scenario-broken-off";
/// Every provider fails.
pub const NOBODY: &str = "scenario-nobody";
/// Pieces without end, for clients that leave.
pub const ENDLESS: &str = "scenario-endless";

/// All that an ask may name, with the weight of each in the mixture. The endless one is only for those that leave.
pub const ANSWERED: [(&str, u64); 7] =
    [(BRIEF, 30), (LATE, 20), (PIECES, 16), (FALLBACK, 10), (UNCOUNTED, 10), (BROKEN_OFF, 8), (SLOW, 6)];

const LATE_DELAY: Duration = Duration::from_millis(100);
const SLOW_DELAY: Duration = Duration::from_millis(400);
const PIECE_GAP: Duration = Duration::from_millis(25);

/// Teaches the two providers of `world` every scenario. The charges differ, so that one cannot pass for another.
pub fn script(world: &World) {
    let pieces = Completion::numbered(6, PIECE_GAP);
    let groq = [
        (BRIEF, Behaviour::answer("A brief answer.", Usage::new(52, 192))),
        (LATE, Behaviour::late(LATE_DELAY, Behaviour::answer("A late answer.", Usage::new(57, 167)))),
        (SLOW, Behaviour::late(SLOW_DELAY, Behaviour::answer("A slow answer.", Usage::new(52, 338)))),
        (PIECES, Behaviour::Complete(pieces.clone().usage(Usage::new(73, 26)))),
        (UNCOUNTED, Behaviour::answer_without_usage("An answer whose tokens nobody told.")),
        (FALLBACK, Behaviour::status(500)),
        (BROKEN_OFF, Behaviour::Complete(pieces.clone().ending(Ending::Broken))),
        (NOBODY, Behaviour::status(503)),
        (ENDLESS, Behaviour::Complete(pieces.ending(Ending::Endless))),
    ];
    for (marker, behaviour) in groq {
        world.groq.script(marker, [behaviour]);
    }
    world.local.script(FALLBACK, [Behaviour::answer("From the second.", Usage::new(52, 34))]);
    world.local.script(BROKEN_OFF, [Behaviour::answer("Whole, from the second.", Usage::new(60, 60))]);
    world.local.script(NOBODY, [Behaviour::status(500)]);
}
