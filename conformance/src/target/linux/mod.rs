//! The Linux adapter.
