//! The flows: what is kept equal between which systems, and who wins.
