//! `parties`.
pub mod action;
mod agree;
pub mod conclude;
pub mod link;
pub mod merge;
pub mod notice;
pub mod party;
pub mod plan;
pub mod sides;

#[cfg(test)]
mod model;
#[cfg(test)]
mod tests;
