//! Every fault of one command: each of its statements fails, or fails after it landed. The command then says so, the
//! database is what it was, and the same command works right after.

use actors::shared::Refusal;
use actors::sqlite::Sqlite;

use crate::fault::{Faulty, INJECTED, StatementFault};

/// One command, as text what it answers.
pub type Run<'a> = &'a dyn Fn(&mut Faulty<'_, Sqlite>) -> Result<String, Refusal>;
/// All that a database holds, as text.
pub type Dump = fn(&mut Sqlite) -> String;

/// What an undisturbed run gives: its answer, its statements, and the database after it. All undone.
fn undisturbed(database: &mut Sqlite, dump: Dump, run: Run<'_>) -> (Result<String, Refusal>, u32, String) {
    let (mut answer, mut statements, mut after) = (Err(Refusal::UnknownEntry), 0, String::new());
    let _undone = database.transaction(|sql| {
        let mut counted = Faulty::new(sql, None);
        answer = run(&mut counted);
        statements = counted.statements;
        after = dump(sql);
        Err::<(), Refusal>(Refusal::UnknownEntry)
    });
    (answer, statements, after)
}

/// Injects every fault; how many there were. `what` is said of one that was not survived.
///
/// # Panics
/// When one is answered otherwise than as a failure, leaves something behind, or changes what the command does after
/// it.
pub fn exhaust(what: &str, mut database: Sqlite, dump: Dump, run: Run<'_>) -> u32 {
    let before = dump(&mut database);
    let (answer, statements, after) = undisturbed(&mut database, dump, run);
    assert_eq!(dump(&mut database), before);
    for nth in 1..=statements {
        for landed in [false, true] {
            let at = format!("{what}: statement {nth} of {statements}, landed: {landed}");
            let done = database.transaction(|sql| {
                let mut faulty = Faulty::new(sql, Some(StatementFault { nth, landed }));
                let done = run(&mut faulty);
                assert!(faulty.hit, "{at}: not met");
                done
            });
            assert_eq!(done, Err(Refusal::Storage { detail: INJECTED.to_owned() }), "{at}");
            assert_eq!(dump(&mut database), before, "{at}: something is left");
            let (again, _, again_after) = undisturbed(&mut database, dump, run);
            assert_eq!(again, answer, "{at}: answered otherwise afterwards");
            assert_eq!(again_after, after, "{at}: done otherwise afterwards");
        }
    }
    2 * statements
}
