//! The memory that all bodies under way share: one number, taken from and given back to.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// What one permit stands for.
const UNIT: usize = 1024;

/// One budget of bytes; clones are handles on the same one. Waiting is in the order of arrival, so a large reservation is
/// not starved by small ones.
#[derive(Clone, Debug)]
pub struct Budget {
    permits: Arc<Semaphore>,
    units: usize,
    /// What this one is a part of.
    whole: Option<Arc<Semaphore>>,
}

/// Bytes taken from a [`Budget`], and from what it is a part of, given back on drop.
#[derive(Debug)]
pub struct Lease(
    OwnedSemaphorePermit,
    #[expect(dead_code, reason = "given back on drop")] Option<OwnedSemaphorePermit>,
);

impl Lease {
    /// How many bytes it holds.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.0.num_permits().saturating_mul(UNIT)
    }
}

impl Budget {
    /// A budget of `bytes`.
    #[must_use]
    pub fn new(bytes: usize) -> Self {
        let units = (bytes / UNIT).min(Semaphore::MAX_PERMITS);
        Self { permits: Arc::new(Semaphore::new(units)), units, whole: None }
    }

    /// A budget of `bytes` of this one: what is taken from it is taken from both.
    #[must_use]
    pub fn part(&self, bytes: usize) -> Self {
        Self { whole: Some(Arc::clone(&self.permits)), ..Self::new(bytes.min(self.total())) }
    }

    /// Units for `bytes`, unless there are never as many.
    fn units_of(&self, bytes: usize) -> Option<u32> {
        let units = bytes.div_ceil(UNIT);
        u32::try_from(units).ok().filter(|_| units <= self.units)
    }

    /// Takes `bytes` if they are there now.
    #[must_use]
    pub fn try_reserve(&self, bytes: usize) -> Option<Lease> {
        let units = self.units_of(bytes)?;
        let own = Arc::clone(&self.permits).try_acquire_many_owned(units).ok()?;
        let whole = self.whole.clone().map(|whole| whole.try_acquire_many_owned(units)).transpose().ok()?;
        Some(Lease(own, whole))
    }

    /// Takes `bytes`, waiting at most `limit` for them. More than the whole budget is never there.
    pub async fn reserve_within(&self, bytes: usize, limit: Duration) -> Option<Lease> {
        let units = self.units_of(bytes)?;
        let acquire = async {
            let own = Arc::clone(&self.permits).acquire_many_owned(units).await.ok()?;
            let whole = match &self.whole {
                Some(whole) => Some(Arc::clone(whole).acquire_many_owned(units).await.ok()?),
                None => None,
            };
            Some(Lease(own, whole))
        };
        tokio::time::timeout(limit, acquire).await.ok()?
    }

    /// How many bytes are taken.
    #[must_use]
    pub fn used(&self) -> usize {
        self.units.saturating_sub(self.permits.available_permits()).saturating_mul(UNIT)
    }

    /// How many bytes there are in all.
    #[must_use]
    pub const fn total(&self) -> usize {
        self.units * UNIT
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn bytes_are_taken_waited_for_and_given_back() {
        let budget = Budget::new(8 << 10);
        let lease = budget.try_reserve(5 << 10).unwrap();
        assert_eq!((lease.bytes(), budget.used(), budget.total()), (5 << 10, 5 << 10, 8 << 10));
        assert!(budget.try_reserve(4 << 10).is_none());
        assert!(budget.reserve_within(4 << 10, Duration::from_millis(20)).await.is_none());
        let waiting = tokio::spawn({
            let budget = budget.clone();
            async move { budget.reserve_within(8 << 10, Duration::from_mins(1)).await }
        });
        tokio::task::yield_now().await;
        drop(lease);
        assert_eq!(waiting.await.unwrap().unwrap().bytes(), 8 << 10);
        assert_eq!(budget.used(), 0);
    }

    #[tokio::test]
    async fn a_part_takes_from_the_whole_and_never_all_of_it() {
        let whole = Budget::new(8 << 10);
        let part = whole.part(4 << 10);
        let lease = part.try_reserve(4 << 10).unwrap();
        assert_eq!((lease.bytes(), part.used(), whole.used()), (4 << 10, 4 << 10, 4 << 10));
        assert!(part.try_reserve(1 << 10).is_none() && part.reserve_within(5 << 10, Duration::MAX).await.is_none());
        let rest = whole.try_reserve(4 << 10).unwrap();
        drop(lease);
        assert_eq!((part.used(), whole.used()), (0, 4 << 10));
        let _more = whole.try_reserve(2 << 10).unwrap();
        assert!(part.reserve_within(3 << 10, Duration::from_millis(20)).await.is_none());
        assert_eq!(part.used(), 0, "what cannot be had whole is given back");
        drop(rest);
        assert!(part.reserve_within(3 << 10, Duration::from_millis(20)).await.is_some());
    }

    #[tokio::test]
    async fn more_than_the_whole_is_refused_at_once() {
        let budget = Budget::new(1 << 20);
        assert!(budget.reserve_within((1 << 20) + 1, Duration::from_hours(1)).await.is_none());
    }
}
