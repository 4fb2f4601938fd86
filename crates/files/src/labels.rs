//! Labels of a row, kept in one text so that reading a row allocates nothing.

/// Names and values in the order in which they came.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Labels {
    text: String,
    /// Ends of each name and value.
    ends: Vec<(usize, usize)>,
}

impl Labels {
    /// Forgets all.
    pub fn clear(&mut self) {
        self.text.clear();
        self.ends.clear();
    }

    /// Adds a label; one without a value is none.
    pub fn push(&mut self, name: &str, value: &str) {
        if value.is_empty() {
            return;
        }
        self.text.push_str(name);
        let middle = self.text.len();
        self.text.push_str(value);
        self.ends.push((middle, self.text.len()));
    }

    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        let mut start = 0;
        self.ends.iter().map(move |&(middle, end)| {
            let pair = (
                self.text.get(start..middle).unwrap_or_default(),
                self.text.get(middle..end).unwrap_or_default(),
            );
            start = end;
            pair
        })
    }

    /// A name that is given twice.
    pub fn repeated(&self) -> Option<&str> {
        let mut names: Vec<&str> = self.iter().map(|(name, _)| name).collect();
        // A line may have any number of them.
        names.sort_unstable();
        names.windows(2).find_map(|pair| match pair {
            [name, next] if name == next => Some(*name),
            _ => None,
        })
    }

    /// Bytes of all of them.
    pub fn size(&self) -> usize {
        self.text.len()
    }

    /// How many.
    pub fn len(&self) -> usize {
        self.ends.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }
}
