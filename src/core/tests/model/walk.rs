//! Walks every state breadth first, keeps the graph, and checks the properties of the whole graph.

use std::{
    collections::HashMap,
    hash::{DefaultHasher, Hash, Hasher},
    time::{Duration, Instant},
};

use crate::{
    steps::{CAUSELESS, DEADLINE, FORGOTTEN, Label, steps},
    world::World,
};

/// A property of every state; the error is its name.
pub type Check = fn(&World) -> Result<(), &'static str>;
/// A state that has to be reached, by name.
pub type Sight = (&'static str, fn(&World) -> bool);

#[derive(Clone, Copy)]
struct Edge {
    to: u32,
    writes: bool,
    /// A deadline passes.
    deadline: bool,
    /// A pass begins without a cause.
    causeless: bool,
}

/// A walk through every state.
pub struct Walk {
    /// The state and the step from which each state was reached first.
    parents: Vec<Option<(u32, Label)>>,
    /// For each state, the steps that the operator and the network make without a fault.
    fair: Vec<Vec<Edge>>,
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
        let mut known = HashMap::from([(print(&start), 0)]);
        let mut walk = Self {
            parents: vec![None],
            fair: vec![Vec::new()],
            rest: vec![start.at_rest()],
            free: vec![start.is_free()],
            depth: 0,
            edges: 0,
            took: Duration::ZERO,
            seen: sights.iter().map(|(_, is)| is(&start)).collect(),
        };
        let mut level = vec![(0, start)];
        while !level.is_empty() {
            let mut next = Vec::new();
            for (from, world) in level {
                for (label, after) in steps(&world) {
                    walk.edges += 1;
                    let new = u32::try_from(walk.parents.len()).expect("fewer states than 2^32");
                    let to = *known.entry(print(&after)).or_insert(new);
                    if to == new {
                        walk.parents.push(Some((from, label)));
                        walk.fair.push(Vec::new());
                        walk.rest.push(after.at_rest());
                        walk.free.push(after.is_free());
                        for (seen, (_, is)) in walk.seen.iter_mut().zip(sights) {
                            *seen = *seen || is(&after);
                        }
                        check(&after).map_err(|what| format!("{what}:\n{}\n{after:#?}", walk.way_to(new)))?;
                    }
                    if label.fair {
                        let changed = (&world.requests, &world.records) != (&after.requests, &after.records);
                        let writes = changed && label.what != FORGOTTEN;
                        let (deadline, causeless) = (label.what == DEADLINE, label.what == CAUSELESS);
                        walk.fair[from as usize].push(Edge { to, writes, deadline, causeless });
                    }
                    if to == new {
                        next.push((new, after));
                    }
                }
            }
            walk.depth += u32::from(!next.is_empty());
            level = next;
        }
        walk.took = begun.elapsed();
        Ok(walk)
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
        let (some_day, soon) =
            (self.ending(|edge| !edge.causeless), self.ending(|edge| !edge.causeless && !edge.deadline));
        let stuck = (0..self.states()).find(|state| !some_day[*state] || self.free[*state] && !soon[*state]);
        match stuck {
            None => Ok(()),
            Some(state) => Err(format!("no end can be reached from here:\n{}", self.way_to(state as u32))),
        }
    }

    /// Returns the states from which such steps lead to one at rest: walks the graph backwards.
    fn ending(&self, such: impl Fn(&Edge) -> bool) -> Vec<bool> {
        let mut back = vec![Vec::new(); self.states()];
        for (from, edges) in self.fair.iter().enumerate() {
            for edge in edges.iter().filter(|edge| such(edge)) {
                back[edge.to as usize].push(from as u32);
            }
        }
        let mut ends = self.rest.clone();
        let mut open: Vec<_> = (0..self.states()).filter(|state| ends[*state]).collect();
        while let Some(state) = open.pop() {
            for from in &back[state] {
                if !std::mem::replace(&mut ends[*from as usize], true) {
                    open.push(*from as usize);
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
            for Edge { to, writes, .. } in &self.fair[state] {
                if *writes {
                    return Err(format!("nothing is written at rest:\n{}", self.way_to(state as u32)));
                }
                if !std::mem::replace(&mut calm[*to as usize], true) {
                    open.push(*to as usize);
                }
            }
        }
        Ok(())
    }

    fn way_to(&self, mut state: u32) -> String {
        let mut way = Vec::new();
        while let Some((from, label)) = self.parents[state as usize] {
            let who = label.replica.map_or_else(String::new, |replica| format!("replica {replica} "));
            let then = if label.then.is_empty() { String::new() } else { format!(", and {}", label.then) };
            way.push(format!("  {who}{}{then}{}", label.what, if label.fair { "" } else { "  (fault)" }));
            state = from;
        }
        way.reverse();
        way.join("\n")
    }
}
