//! Sends a plan over keep-alive connections and prints what came of it.
//!
//! No request is given up: after the window every answer under way is awaited, so that what was acknowledged can be
//! compared with a ledger to the last row.

use crate::Fallible;
use crate::event_stream::{Arrived, EventStream};
use crate::pace::Pace;
use crate::plan::{Order, Plan};
use crate::response;
use crate::score::Score;
use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

const ANSWER_TIMEOUT: Duration = Duration::from_secs(30);
const RECONNECT_DELAY: Duration = Duration::from_millis(20);
/// A server that breaks more connections than this is not measured.
const LOSSES_MAX: u64 = 100;
/// Larger than any answer that is asked for whole.
const BUFFER_BYTES: usize = 16_384;

struct Run {
    plan: Plan,
    pace: Pace,
    score: RefCell<Score>,
    begun: Cell<u64>,
    random_state: Cell<u64>,
}

pub async fn run() -> Fallible<()> {
    let plan = Plan::parse(&std::io::read_to_string(std::io::stdin())?)?;
    let run = Rc::new(Run {
        pace: Pace::new(plan.interval),
        plan,
        score: RefCell::default(),
        begun: Cell::new(0),
        random_state: Cell::new(0x9E37_79B9_7F4A_7C15),
    });
    let connections: Vec<_> =
        (0..run.plan.connections).map(|_| tokio::task::spawn_local(connection(Rc::clone(&run)))).collect();
    for connection in connections {
        connection.await?;
    }
    run.score.borrow_mut().end(run.plan.watch_pid);
    println!("{}", serde_json::to_string(&run.score.take().summary())?);
    Ok(())
}

/// One connection: request after request until the run is over, a new socket when one breaks.
async fn connection(run: Rc<Run>) {
    let mut socket = None;
    let mut buffer = Vec::with_capacity(BUFFER_BYTES);
    loop {
        if run.is_over() {
            return;
        }
        let began = run.pace.next().await;
        let Some(bytes) = run.next_request() else { return };
        let exchanged = tokio::time::timeout(ANSWER_TIMEOUT, exchange(&run, &mut socket, bytes, &mut buffer));
        let lost = match exchanged.await {
            Ok(Ok((answer, arrived))) => {
                let body = buffer.get(answer.body_at..answer.length).unwrap_or_default();
                run.score.borrow_mut().answered(answer.status, body, began, arrived);
                buffer.drain(..answer.length.min(buffer.len()));
                if answer.closes {
                    socket = None;
                }
                continue;
            }
            Ok(Err(why)) => why,
            Err(_) => "no answer in time".to_owned(),
        };
        run.score.borrow_mut().lost(&lost);
        socket = None;
        tokio::time::sleep(RECONNECT_DELAY).await;
    }
}

async fn exchange(
    run: &Run,
    socket: &mut Option<TcpStream>,
    request: &[u8],
    buffer: &mut Vec<u8>,
) -> Result<(response::Answer, Option<Arrived>), String> {
    let stream = match socket {
        Some(stream) => stream,
        None => {
            buffer.clear();
            let stream = TcpStream::connect(run.plan.address).await.map_err(|error| error.to_string())?;
            stream.set_nodelay(true).map_err(|error| error.to_string())?;
            socket.insert(stream)
        }
    };
    stream.write_all(request).await.map_err(|error| error.to_string())?;
    loop {
        if run.plan.streamed {
            let head = response::head(buffer)?;
            if let Some(head) = head.filter(|head| head.chunked && (200..300).contains(&head.status)) {
                return streamed(stream, &head, buffer).await;
            }
        }
        if let Some(answer) = response::parse(buffer)? {
            return Ok((answer, None));
        }
        read_more(stream, buffer).await?;
    }
}

/// The rest of a streamed answer, of which nothing stays in `buffer`.
async fn streamed(
    stream: &mut TcpStream,
    head: &response::Head,
    buffer: &mut Vec<u8>,
) -> Result<(response::Answer, Option<Arrived>), String> {
    buffer.drain(..head.body_at.min(buffer.len()));
    let mut events = EventStream::default();
    while !events.take(buffer)? {
        read_more(stream, buffer).await?;
    }
    let answer = response::Answer { status: head.status, length: 0, body_at: 0, closes: head.closes };
    Ok((answer, Some(events.arrived)))
}

async fn read_more(stream: &mut TcpStream, buffer: &mut Vec<u8>) -> Result<(), String> {
    match stream.read_buf(buffer).await.map_err(|error| error.to_string())? {
        0 => Err("the connection ended before the answer".to_owned()),
        _ => Ok(()),
    }
}

impl Run {
    fn is_over(&self) -> bool {
        let mut score = self.score.borrow_mut();
        score.losses() > LOSSES_MAX || score.is_over(self.plan.watch_pid)
    }

    /// The next request of the plan; the first one after the warm-up opens the window.
    fn next_request(&self) -> Option<&[u8]> {
        let nth = self.begun.get();
        self.begun.set(nth.saturating_add(1));
        if nth == self.plan.warmup_requests {
            self.score.borrow_mut().open_window(self.plan.window, self.plan.watch_pid);
        }
        let count = self.plan.requests.len();
        let nth = usize::try_from(nth).unwrap_or(usize::MAX);
        let warm = u64::try_from(nth).is_ok_and(|nth| nth >= self.plan.warmup_requests);
        let at = match self.plan.order {
            Order::Once => nth,
            Order::Random if warm => self.random_below(count),
            Order::Random | Order::Cycle => nth.checked_rem(count)?,
        };
        self.plan.requests.get(at).map(Vec::as_slice)
    }

    /// A xorshift generator: even enough to spread load, the same in every run.
    fn random_below(&self, bound: usize) -> usize {
        let mut state = self.random_state.get();
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        self.random_state.set(state);
        let bound = u64::try_from(bound).unwrap_or(u64::MAX);
        state.checked_rem(bound).and_then(|at| usize::try_from(at).ok()).unwrap_or(0)
    }
}
