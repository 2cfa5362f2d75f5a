//! The graph of the fair steps, in little memory.

use crate::steps::{CAUSELESS, DEADLINE, FORGOTTEN, Label};

/// A step without a fault: the number of the state that it leads to, and three facts about it.
#[derive(Clone, Copy)]
pub struct Edge(u32);

impl Edge {
    /// It changes a request or a record.
    pub const WRITES: u32 = 1 << 31;
    /// A deadline passes.
    pub const DEADLINE: u32 = 1 << 30;
    /// A pass begins without a cause.
    pub const CAUSELESS: u32 = 1 << 29;
    /// The bits of the state.
    const STATE: u32 = Self::CAUSELESS - 1;
    /// The most states.
    pub const MOST: usize = Self::CAUSELESS as usize;

    pub fn new(to: u32, label: &Label, changes: bool) -> Self {
        let fact = |holds, bit| if holds { bit } else { 0 };
        let writes = fact(changes && label.what != FORGOTTEN, Self::WRITES);
        let deadline = fact(label.what == DEADLINE, Self::DEADLINE);
        Self(to | writes | deadline | fact(label.what == CAUSELESS, Self::CAUSELESS))
    }

    pub const fn to(self) -> usize {
        (self.0 & Self::STATE) as usize
    }

    pub const fn is(self, fact: u32) -> bool {
        self.0 & fact != 0
    }
}

/// The edges of all states, one state after the other.
pub struct Edges {
    /// For each state, and after the last one, the place of its first edge.
    first: Vec<u32>,
    edges: Vec<Edge>,
}

impl Default for Edges {
    fn default() -> Self {
        Self { first: vec![0], edges: Vec::new() }
    }
}

impl Edges {
    pub fn of(&self, state: usize) -> &[Edge] {
        &self.edges[self.first[state] as usize..self.first[state + 1] as usize]
    }

    /// Adds an edge of the state whose list has not ended.
    pub fn push(&mut self, edge: Edge) {
        self.edges.push(edge);
    }

    /// Ends the list of a state, and begins that of the next one.
    pub fn end(&mut self) {
        self.first.push(u32::try_from(self.edges.len()).expect("fewer edges than 2^32"));
    }

    /// Returns the same edges, each at the state that it leads to, with that from which it leads.
    pub fn reversed(&self) -> Self {
        let states = self.first.len() - 1;
        let mut first = vec![0; states + 1];
        for edge in &self.edges {
            first[edge.to() + 1] += 1;
        }
        for state in 0..states {
            first[state + 1] += first[state];
        }
        let mut next = first.clone();
        let mut edges = vec![Edge(0); self.edges.len()];
        for from in 0..states {
            for edge in self.of(from) {
                let place = &mut next[edge.to()];
                edges[*place as usize] = Edge(from as u32 | edge.0 & !Edge::STATE);
                *place += 1;
            }
        }
        Self { first, edges }
    }
}
