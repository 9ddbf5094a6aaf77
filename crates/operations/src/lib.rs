//! What an operator may see and do: dead letters, status, health. One service behind every face (command line,
//! HTTP, page); it prints nothing and knows no adapter.

pub mod connections;
pub mod dead_letters;
pub mod health;
pub mod http;
pub mod migration;
pub mod preparation;
pub mod status;
pub mod sweep_state;

#[cfg(test)]
mod doubles;
