//! What an operator may do: dead letters, status, health; one service behind every face.
