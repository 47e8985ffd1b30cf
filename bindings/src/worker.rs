//! Where the core's work is done: on threads of this library.
//!
//! A future that is exported is polled by the thread of whoever awaits it, which is an app's main thread more often
//! than not. The core signs with platform keys and reads files between two awaits, so each call gets a thread of
//! its own for as long as it takes.

use crate::RoundsmanError;
use std::future::Future;
use std::sync::{OnceLock, mpsc};
use tokio::runtime::{Builder, Runtime};
use tokio::sync::oneshot;

/// Runs a call that waits for the network. Dropping the returned future stops it at its next await.
pub(crate) async fn online<T: Send + 'static>(
    work: impl Future<Output = Result<T, RoundsmanError>> + Send + 'static,
) -> Result<T, RoundsmanError> {
    let runtime = runtime()?;
    let (_stop_on_drop, stopped) = oneshot::channel::<()>();
    let call = runtime.spawn_blocking(move || {
        runtime.block_on(async {
            tokio::select! {
                result = work => result,
                _ = stopped => Err(RoundsmanError::Cancelled),
            }
        })
    });
    call.await.unwrap_or(Err(RoundsmanError::Internal))
}

/// Runs a call that waits for disk, keys or the processor. It goes on to its end even if nobody waits for it.
pub(crate) async fn local<T: Send + 'static, E: Into<RoundsmanError>>(
    work: impl FnOnce() -> Result<T, E> + Send + 'static,
) -> Result<T, RoundsmanError> {
    let call = runtime()?.spawn_blocking(move || work().map_err(Into::into));
    call.await.unwrap_or(Err(RoundsmanError::Internal))
}

/// Does work on a thread of this library while the caller's waits for it: for what must be done when the call
/// returns, such as closing the vault, and still must not call the app's keystore from the caller's thread.
pub(crate) fn waited_for<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, RoundsmanError> {
    let (sender, done) = mpsc::sync_channel(1);
    runtime()?.spawn_blocking(move || sender.send(work()));
    done.recv().map_err(|_| RoundsmanError::Internal)
}

fn runtime() -> Result<&'static Runtime, RoundsmanError> {
    static RUNTIME: OnceLock<Option<Runtime>> = OnceLock::new();
    // One worker drives sockets and timers; the work itself is on blocking threads.
    let runtime = RUNTIME.get_or_init(|| {
        Builder::new_multi_thread().worker_threads(1).thread_name("roundsman").enable_all().build().ok()
    });
    runtime.as_ref().ok_or(RoundsmanError::Internal)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_defect_becomes_an_error() {
        let local = local(|| -> Result<(), RoundsmanError> { unreachable!("a planted defect") }).await;
        assert!(matches!(local, Err(RoundsmanError::Internal)));
        let online = online(async { unreachable!("a planted defect") as Result<(), _> }).await;
        assert!(matches!(online, Err(RoundsmanError::Internal)));
    }

    #[test]
    fn what_the_caller_waits_for_is_done_elsewhere_and_its_defect_is_an_error() {
        let here = std::thread::current().id();
        assert_ne!(waited_for(|| std::thread::current().id()), Ok(here));
        assert_eq!(waited_for(|| unreachable!("a planted defect") as u8), Err(RoundsmanError::Internal));
    }

    #[tokio::test]
    async fn a_call_that_nobody_awaits_any_more_is_stopped() {
        struct Tell(mpsc::Sender<()>);
        impl Drop for Tell {
            fn drop(&mut self) {
                let _ = self.0.send(());
            }
        }
        let (sender, dropped) = mpsc::channel();
        let (begun_sender, begun) = oneshot::channel();
        let tell = Tell(sender);
        let call = online(async move {
            let _tell = tell;
            let _ = begun_sender.send(());
            std::future::pending::<Result<(), RoundsmanError>>().await
        });
        tokio::select! {
            _ = call => unreachable!("it never ends"),
            begun = begun => assert!(begun.is_ok()),
        }
        let stopped =
            tokio::task::spawn_blocking(move || dropped.recv_timeout(std::time::Duration::from_secs(10)));
        assert!(matches!(stopped.await, Ok(Ok(()))));
    }
}
