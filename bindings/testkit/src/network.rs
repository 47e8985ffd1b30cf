//! The network of one phone.

use crate::KitError;
use crate::front::Front;
use crate::server::Running;
use roundsman_model::UserId;
use roundsman_testkit::{self as kit, FakeTransport, Place};
use std::sync::Arc;
use uuid::Uuid;

/// What becomes of one request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, uniffi::Enum)]
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
    CutAnswer {
        /// How many.
        bytes: u32,
    },
    /// The byte at this place of the answer's body is another one. TLS notices that, and ends the connection there.
    CorruptAnswer {
        /// Which.
        at: u32,
    },
}

/// What becomes of requests by chance, in percent. What is left over is delivered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, uniffi::Record)]
pub struct Weather {
    /// `Fate.LoseRequest`.
    #[uniffi(default = 0)]
    pub lose_request: u32,
    /// `Fate.LoseAnswer`.
    #[uniffi(default = 0)]
    pub lose_answer: u32,
    /// `Fate.Double`.
    #[uniffi(default = 0)]
    pub double: u32,
    /// `Fate.Late`.
    #[uniffi(default = 0)]
    pub late: u32,
    /// `Fate.CutAnswer`, at any byte of the first 4,000.
    #[uniffi(default = 0)]
    pub cut: u32,
    /// The longest time that a request takes there and back, in milliseconds of the server's clock. No test waits for it.
    #[uniffi(default = 0)]
    pub latency_ms: u32,
}

/// The network between one phone and the server.
#[derive(uniffi::Object)]
pub struct KitNetwork {
    front: Arc<Front>,
    transport: Arc<FakeTransport>,
    place: Arc<Place>,
    _running: Arc<Running>,
}

impl KitNetwork {
    pub(crate) fn open(running: Arc<Running>) -> Result<Self, KitError> {
        let listener = Front::bind()?;
        let url = listener.url().to_owned();
        let place = Arc::new(running.server.place(&url, &[running.identity.pin()]));
        let answers: Arc<dyn kit::Answers> = Arc::<Place>::clone(&place);
        let transport = FakeTransport::new(answers, Arc::clone(running.server.clock()));
        let front = listener.listen(running.runtime()?, &running.identity, Arc::clone(&transport))?;
        let front = Arc::new(front);
        running.keep(&front);
        Ok(Self { front, transport, place, _running: running })
    }
}

#[uniffi::export]
impl KitNetwork {
    /// A fresh enrolment code for this user's phone, to be given to `enrol`. From then on the phone talks over this network.
    ///
    /// # Errors
    /// There is no such user.
    pub fn ticket(&self, user: Uuid) -> Result<String, KitError> {
        Ok(self.place.ticket(UserId(user))?)
    }

    /// Where the phone finds its server.
    pub fn url(&self) -> String {
        self.front.url().to_owned()
    }

    /// Cuts the phone off, with every connection that is open, or lets it through again.
    pub fn offline(&self, offline: bool) {
        self.transport.offline(offline);
        self.front.offline(offline);
    }

    /// The fate of the next request that has none yet. While the phone listens, that may be one of its own accord.
    pub fn next(&self, fate: Fate) {
        self.transport.next(fate.into());
    }

    /// Takes back the fates that no request has met.
    pub fn forget_next(&self) {
        self.transport.forget_next();
    }

    /// From now on, requests of which nothing else was said fare by chance, the same for the same seed.
    pub fn weather(&self, weather: Weather, seed: u64) {
        let Weather { lose_request, lose_answer, double, late, cut, latency_ms } = weather;
        let weather = kit::Weather { lose_request, lose_answer, double, late, cut, latency_ms };
        self.transport.weather(weather, seed);
    }

    /// No faults from now on. What was on its way is lost.
    pub fn heal(&self) {
        self.transport.heal();
        self.front.offline(false);
    }

    /// How many requests the phone has made. Those that were lost count; while it is cut off it can't make any.
    pub fn requests(&self) -> u64 {
        self.transport.requests()
    }

    /// Waits until a request hangs.
    pub async fn hangs(&self) {
        self.transport.hangs().await;
    }
}

impl From<Fate> for kit::Fate {
    fn from(fate: Fate) -> Self {
        match fate {
            Fate::Deliver => Self::Deliver,
            Fate::LoseRequest => Self::LoseRequest,
            Fate::LoseAnswer => Self::LoseAnswer,
            Fate::Double => Self::Double,
            Fate::Late => Self::Late,
            Fate::HangBefore => Self::HangBefore,
            Fate::HangAfter => Self::HangAfter,
            Fate::CutAnswer { bytes } => Self::CutAnswer(bytes as usize),
            Fate::CorruptAnswer { at } => Self::CorruptAnswer(at as usize),
        }
    }
}
