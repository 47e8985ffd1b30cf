//! Blocking work, off the executor.

use crate::refusal::Refusal;

/// Does blocking work on a thread that may block. Once begun it is finished, even if nobody waits for it any more.
pub(crate) async fn work<T: Send + 'static>(
    job: impl FnOnce() -> Result<T, Refusal> + Send + 'static,
) -> Result<T, Refusal> {
    // A simulation plays on one thread: to change to another and back takes longer than the work does.
    #[cfg(feature = "simulation")]
    if crate::simulation::is_entered() {
        return tokio::spawn(async move { job() }).await.map_err(|_| Refusal::Worker)?;
    }
    tokio::task::spawn_blocking(job).await.map_err(|_| Refusal::Worker)?
}
