//! Pseudo-random numbers: the same seed gives the same ones.

/// A xorshift generator.
pub struct Random(u64);

/// Edge values.
const EDGES: [u64; 14] = [
    0,
    1,
    2,
    7,
    16,
    u8::MAX as u64,
    i16::MAX as u64,
    u16::MAX as u64,
    u16::MAX as u64 + 1,
    i32::MAX as u64,
    u32::MAX as u64,
    u32::MAX as u64 + 1,
    i64::MAX as u64,
    u64::MAX,
];

impl Random {
    /// A generator with this seed.
    pub fn new(seed: u64) -> Random {
        // From 0 it would never leave 0.
        Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    /// Any number.
    pub fn number(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    /// A number below this one, which must not be 0.
    pub fn below(&mut self, bound: u64) -> u64 {
        (self.number() >> 16) % bound
    }

    /// True once in this many times, on average.
    pub fn once_in(&mut self, times: u64) -> bool {
        self.below(times) == 0
    }

    /// One of these.
    pub fn pick<T: Copy>(&mut self, items: &[T]) -> T {
        items[self.below(items.len() as u64) as usize]
    }

    /// Fills the slice.
    pub fn fill(&mut self, bytes: &mut [u8]) {
        bytes.fill_with(|| self.number() as u8);
    }

    /// Sometimes overwrites possible fields with edge values or random ones.
    pub fn corrupt(&mut self, bytes: &mut [u8]) {
        if bytes.is_empty() || !self.once_in(6) {
            return;
        }
        for _ in 0..=self.below(3) {
            let width = self.pick(&[1, 2, 4, 8]).min(bytes.len());
            let at = self.below((bytes.len() / width) as u64) as usize * width;
            let value = if self.once_in(3) { self.number() } else { self.pick(&EDGES) };
            bytes[at..at + width].copy_from_slice(&value.to_ne_bytes()[..width]);
        }
    }
}
