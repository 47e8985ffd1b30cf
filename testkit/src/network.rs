//! A network between a phone and its server that does what the test says.

use crate::{Chance, ManualClock};
use async_trait::async_trait;
use bytes::Bytes;
use roundsman_core::platform::{Body, Request, Response, Transport, TransportError};
use std::collections::VecDeque;
use std::future::pending;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::Notify;

/// Answers requests in place of a socket.
#[async_trait]
pub trait Answers: Send + Sync {
    /// The answer.
    ///
    /// # Errors
    /// Nobody is there.
    async fn answer(&self, request: &Request) -> Result<Response, TransportError>;
}

/// What becomes of one request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// It is answered.
    Deliver,
    /// It never arrives.
    LoseRequest,
    /// It arrives, and its answer does not.
    LoseAnswer,
    /// It arrives twice; the answer is the first one's.
    Double,
    /// The phone gives it up, and it arrives before the phone's next request but one: out of order.
    Late,
    /// It never arrives, and the phone is never told: half open.
    HangBefore,
    /// It arrives, and the phone waits for its answer for ever.
    HangAfter,
    /// The answer ends after so many bytes of its body.
    CutAnswer(usize),
    /// The byte at this place of the answer's body is another one. TLS notices that, and ends the connection there.
    CorruptAnswer(usize),
}

/// What becomes of requests by chance, in percent. What is left over is delivered.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Weather {
    /// [`Fate::LoseRequest`].
    pub lose_request: u32,
    /// [`Fate::LoseAnswer`].
    pub lose_answer: u32,
    /// [`Fate::Double`].
    pub double: u32,
    /// [`Fate::Late`].
    pub late: u32,
    /// [`Fate::CutAnswer`], at any byte of the first 4,000.
    pub cut: u32,
    /// The longest time that a request takes there and back, in milliseconds of the clock.
    pub latency_ms: u32,
}

/// The network of one phone.
pub struct FakeTransport {
    server: Arc<dyn Answers>,
    clock: Arc<ManualClock>,
    state: Mutex<State>,
    hanging: Notify,
}

struct State {
    requests: u64,
    offline: bool,
    weather: Weather,
    chance: Chance,
    next: VecDeque<Fate>,
    /// Requests on their way, with how many others go before them.
    late: Vec<(u32, Request)>,
}

impl FakeTransport {
    /// A network without faults.
    pub fn new(server: Arc<dyn Answers>, clock: Arc<ManualClock>) -> Arc<Self> {
        let state = State {
            requests: 0,
            offline: false,
            weather: Weather::default(),
            chance: Chance::new(0),
            next: VecDeque::new(),
            late: Vec::new(),
        };
        Arc::new(Self { server, clock, state: Mutex::new(state), hanging: Notify::new() })
    }

    /// Cuts the phone off, or lets it through again.
    pub fn offline(&self, offline: bool) {
        self.state().offline = offline;
    }

    /// The fate of the next request that has none yet.
    pub fn next(&self, fate: Fate) {
        self.state().next.push_back(fate);
    }

    /// Takes back the fates that no request has met.
    pub fn forget_next(&self) {
        self.state().next.clear();
    }

    /// From now on, requests of which nothing else was said fare by chance, the same for the same seed.
    pub fn weather(&self, weather: Weather, seed: u64) {
        let mut state = self.state();
        (state.weather, state.chance) = (weather, Chance::new(seed));
    }

    /// No faults from now on. What was on its way is lost.
    pub fn heal(&self) {
        let mut state = self.state();
        state.offline = false;
        state.weather = Weather::default();
        state.next.clear();
        state.late.clear();
    }

    /// How many requests the phone has made, those that were lost included.
    pub fn requests(&self) -> u64 {
        self.state().requests
    }

    /// Waits until a request hangs.
    pub async fn hangs(&self) {
        self.hanging.notified().await;
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What becomes of this request, and what comes in before it.
    fn draw(&self, request: &Request) -> (Fate, Vec<Request>) {
        let mut state = self.state();
        state.requests += 1;
        let mut due = Vec::new();
        for (before, _) in &mut state.late {
            *before = before.saturating_sub(1);
        }
        while let Some(at) = state.late.iter().position(|(before, _)| *before == 0) {
            due.push(state.late.remove(at).1);
        }
        let fate = if state.offline { Fate::LoseRequest } else { state.fate() };
        if fate == Fate::Late {
            state.late.push((2, request.clone()));
        }
        let latency = u64::from(state.weather.latency_ms);
        let latency = state.chance.below(latency + 1);
        drop(state);
        self.clock.advance(Duration::from_millis(latency));
        (fate, due)
    }
}

impl State {
    fn fate(&mut self) -> Fate {
        if let Some(fate) = self.next.pop_front() {
            return fate;
        }
        let Weather { lose_request, lose_answer, double, late, cut, .. } = self.weather;
        let lot = u32::try_from(self.chance.below(100)).unwrap_or_default();
        let mut end = 0;
        let mut falls = |percent: u32| {
            end += percent;
            lot < end
        };
        if falls(lose_request) {
            Fate::LoseRequest
        } else if falls(lose_answer) {
            Fate::LoseAnswer
        } else if falls(double) {
            Fate::Double
        } else if falls(late) {
            Fate::Late
        } else if falls(cut) {
            Fate::CutAnswer(usize::try_from(self.chance.below(4_000)).unwrap_or_default())
        } else {
            Fate::Deliver
        }
    }
}

#[async_trait]
impl Transport for FakeTransport {
    async fn send(&self, request: Request) -> Result<Response, TransportError> {
        let (fate, due) = self.draw(&request);
        for late in due {
            // Whoever sent it waits no longer.
            if let Ok(answer) = self.server.answer(&late).await {
                read_out(answer).await;
            }
        }
        match fate {
            Fate::LoseRequest | Fate::Late => Err(TransportError::Offline),
            Fate::HangBefore => self.hang().await,
            Fate::HangAfter => {
                if let Ok(answer) = self.server.answer(&request).await {
                    read_out(answer).await;
                }
                self.hang().await
            }
            Fate::LoseAnswer => {
                read_out(self.server.answer(&request).await?).await;
                Err(TransportError::Offline)
            }
            Fate::Double => {
                let answer = self.server.answer(&request).await?;
                // Bodies are made as they are read: the first one is read before the repeat comes in.
                let answer = whole(answer).await?;
                if let Ok(second) = self.server.answer(&request).await {
                    read_out(second).await;
                }
                Ok(answer)
            }
            Fate::CutAnswer(bytes) | Fate::CorruptAnswer(bytes) => {
                let answer = self.server.answer(&request).await?;
                Ok(Response { body: Box::new(Cut { body: answer.body, left: bytes }), ..answer })
            }
            Fate::Deliver => self.server.answer(&request).await,
        }
    }
}

impl FakeTransport {
    async fn hang(&self) -> Result<Response, TransportError> {
        self.hanging.notify_one();
        pending().await
    }
}

/// Reads an answer to its end, so that the server has done all it would do.
async fn read_out(mut answer: Response) {
    while let Ok(Some(_)) = answer.body.chunk().await {}
}

async fn whole(mut answer: Response) -> Result<Response, TransportError> {
    let mut pieces = VecDeque::new();
    while let Some(piece) = answer.body.chunk().await? {
        pieces.push_back(piece);
    }
    Ok(Response { body: Box::new(Pieces(pieces)), ..answer })
}

/// A body that is there already.
struct Pieces(VecDeque<Bytes>);

#[async_trait]
impl Body for Pieces {
    async fn chunk(&mut self) -> Result<Option<Bytes>, TransportError> {
        Ok(self.0.pop_front())
    }
}

/// A body whose connection breaks.
struct Cut {
    body: Box<dyn Body>,
    left: usize,
}

#[async_trait]
impl Body for Cut {
    async fn chunk(&mut self) -> Result<Option<Bytes>, TransportError> {
        if self.left == 0 {
            return Err(TransportError::Offline);
        }
        let Some(mut chunk) = self.body.chunk().await? else { return Ok(None) };
        chunk.truncate(self.left);
        self.left -= chunk.len();
        Ok(Some(chunk))
    }
}
