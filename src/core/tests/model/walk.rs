//! Walks every state breadth first, keeps the graph, and checks the properties of the whole graph.

use std::{
    collections::HashMap,
    hash::{BuildHasherDefault, DefaultHasher, Hash, Hasher},
    time::{Duration, Instant},
};

use crate::{
    graph::{Edge, Edges},
    steps::{Label, steps},
    world::World,
};

/// A property of every state; the error is its name.
pub type Check = fn(&World) -> Result<(), &'static str>;
/// A state that has to be reached, by name.
pub type Sight = (&'static str, fn(&World) -> bool);

/// Takes a hash of 64 bits as it is.
#[derive(Default)]
struct Hashed(u64);

impl Hasher for Hashed {
    fn write(&mut self, _: &[u8]) {
        unreachable!("only hashes are looked up");
    }
    fn write_u64(&mut self, hash: u64) {
        self.0 = hash;
    }
    fn finish(&self) -> u64 {
        self.0
    }
}

/// A walk through every state. Of a state, only its hash is kept: the steps to it are found again
/// when they are needed.
pub struct Walk {
    start: World,
    /// The number of each state, by its hash.
    known: HashMap<u64, u32, BuildHasherDefault<Hashed>>,
    /// The state from which each state was reached first.
    parents: Vec<u32>,
    /// For each state, the steps that the operator and the network make without a fault.
    fair: Edges,
    rest: Vec<bool>,
    free: Vec<bool>,
    pub depth: u32,
    pub edges: usize,
    pub took: Duration,
    seen: Vec<bool>,
}

fn print(world: &World) -> u64 {
    let mut hasher = DefaultHasher::new();
    world.hash(&mut hasher);
    hasher.finish()
}

impl Walk {
    /// Walks from here, checking each state and each step.
    ///
    /// # Errors
    /// The first state that breaks a check, with the shortest way to it.
    pub fn from(start: World, check: Check, sights: &[Sight]) -> Result<Self, String> {
        let begun = Instant::now();
        let mut walk = Self {
            start: start.clone(),
            known: HashMap::default(),
            parents: Vec::new(),
            fair: Edges::default(),
            rest: Vec::new(),
            free: Vec::new(),
            depth: 0,
            edges: 0,
            took: Duration::ZERO,
            seen: vec![false; sights.len()],
        };
        walk.visit(0, &start, sights);
        let mut level = vec![start];
        let mut from = 0;
        while !level.is_empty() {
            let mut next = Vec::new();
            for world in level {
                for (label, after) in steps(&world) {
                    walk.edges += 1;
                    let (to, new) = walk.visit(from, &after, sights);
                    if label.fair {
                        let changes = (&world.requests, &world.records) != (&after.requests, &after.records);
                        walk.fair.push(Edge::new(to, &label, changes));
                    }
                    if new {
                        check(&after).map_err(|what| format!("{what}:\n{}\n{after:#?}", walk.way_to(to)))?;
                        next.push(after);
                    }
                }
                walk.fair.end();
                from += 1;
            }
            walk.depth += u32::from(!next.is_empty());
            level = next;
        }
        walk.took = begun.elapsed();
        Ok(walk)
    }

    /// Returns the number of a state that was reached from another one, and true if it is new. The
    /// states are numbered in the order in which they are reached, which is that of their steps.
    fn visit(&mut self, from: u32, world: &World, sights: &[Sight]) -> (u32, bool) {
        let number = self.parents.len();
        let to = *self.known.entry(print(world)).or_insert(number as u32);
        let new = to as usize == number;
        if new {
            assert!(number < Edge::MOST, "too many states for an edge");
            self.parents.push(from);
            self.rest.push(world.at_rest());
            self.free.push(world.is_free());
            for (seen, (_, is)) in self.seen.iter_mut().zip(sights) {
                *seen = *seen || is(world);
            }
        }
        (to, new)
    }

    pub fn states(&self) -> usize {
        self.parents.len()
    }

    /// Returns the sights that no state showed.
    pub fn unseen(&self, sights: &[Sight]) -> Vec<&'static str> {
        sights.iter().zip(&self.seen).filter(|(_, seen)| !**seen).map(|((name, _), _)| *name).collect()
    }

    /// Checks that a state at rest can be reached from every state without a further fault, and
    /// without waiting for the deadline from every state in which nothing holds a request back.
    ///
    /// # Errors
    /// A state from which none can, with the shortest way to it.
    pub fn ends(&self) -> Result<(), String> {
        let back = self.fair.reversed();
        let some_day = self.ending(&back, Edge::CAUSELESS);
        let soon = self.ending(&back, Edge::CAUSELESS | Edge::DEADLINE);
        let stuck = (0..self.states()).find(|state| !some_day[*state] || self.free[*state] && !soon[*state]);
        match stuck {
            None => Ok(()),
            Some(state) => Err(format!("no end can be reached from here:\n{}", self.way_to(state as u32))),
        }
    }

    /// Returns the states from which steps lead to one at rest, without those of which one of these
    /// facts holds: walks the graph backwards.
    fn ending(&self, back: &Edges, without: u32) -> Vec<bool> {
        let mut ends = self.rest.clone();
        let mut open: Vec<_> = (0..self.states()).filter(|state| ends[*state]).collect();
        while let Some(state) = open.pop() {
            for edge in back.of(state).iter().filter(|edge| !edge.is(without)) {
                if !std::mem::replace(&mut ends[edge.to()], true) {
                    open.push(edge.to());
                }
            }
        }
        ends
    }

    /// Checks that nothing is written after a state at rest, regardless of the reconciles that
    /// begin.
    ///
    /// # Errors
    /// A state at rest, or after one, in which the next step writes, with the shortest way to it.
    pub fn rests(&self) -> Result<(), String> {
        let mut calm = self.rest.clone();
        let mut open: Vec<_> = (0..self.states()).filter(|state| calm[*state]).collect();
        while let Some(state) = open.pop() {
            for edge in self.fair.of(state) {
                if edge.is(Edge::WRITES) {
                    return Err(format!("nothing is written at rest:\n{}", self.way_to(state as u32)));
                }
                if !std::mem::replace(&mut calm[edge.to()], true) {
                    open.push(edge.to());
                }
            }
        }
        Ok(())
    }

    /// Returns the steps to a state: takes each of them again.
    fn way_to(&self, mut state: u32) -> String {
        let mut states = Vec::new();
        while state != 0 {
            states.push(state);
            state = self.parents[state as usize];
        }
        let (mut world, mut way) = (self.start.clone(), Vec::new());
        for state in states.into_iter().rev() {
            let leads = |(_, after): &(Label, World)| self.known.get(&print(after)) == Some(&state);
            let (label, after) = steps(&world).into_iter().find(leads).expect("the steps of a state stay the same");
            way.push(label.to_string());
            world = after;
        }
        way.join("\n")
    }
}
