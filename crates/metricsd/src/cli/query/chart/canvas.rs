//! Dots on a grid of characters: two across and four down in each.

/// Bits of a braille character's dots, column by column from the top.
const DOTS: [[u8; 4]; 2] = [[0x01, 0x02, 0x04, 0x40], [0x08, 0x10, 0x20, 0x80]];
/// The braille character without a dot; the others follow it.
const BRAILLE: u32 = 0x2800;
/// What stands for a series where there are no colours.
const MARKERS: [char; 8] = ['*', '+', 'x', 'o', '#', '@', '%', '&'];
/// What stands for a series elsewhere.
const SAMPLE: char = '⠶';
/// Colours of the terminal's own palette: cyan, yellow, magenta, green, blue, red, bright cyan, bright yellow.
const COLOURS: [u8; 8] = [36, 33, 35, 32, 34, 31, 96, 93];

/// How series are told apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ink {
    /// Not at all: there is one.
    Plain,
    /// By one character each.
    Markers,
    /// By colours.
    Colours,
}

impl Ink {
    /// What stands for a series in the legend.
    pub(super) fn sample(self, owner: usize) -> String {
        match self {
            Self::Plain => SAMPLE.to_string(),
            Self::Markers => marker(owner).to_string(),
            Self::Colours => format!("{}{SAMPLE}{}", colour(Some(owner)), colour(None)),
        }
    }
}

fn marker(owner: usize) -> char {
    MARKERS.get(owner % MARKERS.len()).copied().unwrap_or('*')
}

/// The sequence that begins a series' colour, or ends every colour.
fn colour(owner: Option<usize>) -> String {
    let code = owner.and_then(|owner| COLOURS.get(owner % COLOURS.len()).copied()).unwrap_or(0);
    format!("\u{1b}[{code}m")
}

/// The grid.
#[derive(Debug)]
pub(super) struct Canvas {
    columns: usize,
    rows: usize,
    cells: Vec<Cell>,
}

#[derive(Debug, Clone, Copy, Default)]
struct Cell {
    dots: u8,
    /// Who drew here last.
    owner: usize,
}

impl Canvas {
    /// An empty one, in characters.
    pub(super) fn new(columns: usize, rows: usize) -> Self {
        Self { columns, rows, cells: vec![Cell::default(); columns * rows] }
    }

    /// The dot at the lower right.
    pub(super) fn corner(&self) -> (usize, usize) {
        ((self.columns * 2).saturating_sub(1), (self.rows * 4).saturating_sub(1))
    }

    /// A line through these dots; a dot that is alone is made wide enough to be seen.
    pub(super) fn stroke(&mut self, places: &[(usize, usize)], owner: usize) {
        if let [(x, y)] = places {
            self.dot(*x, *y, owner);
            self.dot(x ^ 1, *y, owner);
        }
        for pair in places.windows(2) {
            if let [from, to] = pair {
                self.line(*from, *to, owner);
            }
        }
    }

    /// As many dots as the longer side has, evenly from one end to the other.
    fn line(&mut self, from: (usize, usize), to: (usize, usize), owner: usize) {
        let steps = from.0.abs_diff(to.0).max(from.1.abs_diff(to.1)).max(1);
        let between = |from: usize, to: usize, step: usize| {
            let moved = (from.abs_diff(to) * step + steps / 2) / steps;
            if to >= from { from + moved } else { from - moved }
        };
        for step in 0..=steps {
            self.dot(between(from.0, to.0, step), between(from.1, to.1, step), owner);
        }
    }

    fn dot(&mut self, x: usize, y: usize, owner: usize) {
        let column = x / 2;
        if column >= self.columns {
            return;
        }
        let bit = DOTS.get(x % 2).and_then(|dots| dots.get(y % 4)).copied().unwrap_or(0);
        if let Some(cell) = self.cells.get_mut(y / 4 * self.columns + column) {
            cell.dots |= bit;
            cell.owner = owner;
        }
    }

    /// One row of characters.
    pub(super) fn row(&self, row: usize, ink: Ink) -> String {
        let mut out = String::new();
        let mut current = None;
        for cell in self.cells.iter().skip(row * self.columns).take(self.columns) {
            let owner = (cell.dots != 0).then_some(cell.owner);
            if ink == Ink::Colours && owner.is_some() && owner != current {
                out += &colour(owner);
                current = owner;
            }
            out.push(match (owner, ink) {
                (None, _) => ' ',
                (Some(owner), Ink::Markers) => marker(owner),
                (Some(_), _) => char::from_u32(BRAILLE + u32::from(cell.dots)).unwrap_or(SAMPLE),
            });
        }
        let mut out = out.trim_end().to_owned();
        if current.is_some() {
            out += &colour(None);
        }
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows(canvas: &Canvas, ink: Ink) -> Vec<String> {
        (0..canvas.rows).map(|row| canvas.row(row, ink)).collect()
    }

    #[test]
    fn lines_go_through_their_dots() {
        let mut canvas = Canvas::new(3, 2);
        assert_eq!(canvas.corner(), (5, 7));
        canvas.stroke(&[(0, 7), (5, 0)], 0);
        assert_eq!(rows(&canvas, Ink::Plain), [" ⢀⠎", "⡰⠁"]);
        let mut canvas = Canvas::new(3, 1);
        canvas.stroke(&[(0, 0), (2, 0), (2, 3), (5, 3)], 0);
        assert_eq!(rows(&canvas, Ink::Plain), ["⠉⣇⣀"]);
        canvas.stroke(&[(2, 0)], 0);
        assert_eq!(rows(&canvas, Ink::Plain), ["⠉⣏⣀"]);
        canvas.stroke(&[(99, 99), (6, 0)], 0);
        assert_eq!(rows(&canvas, Ink::Plain), ["⠉⣏⣀"]);
    }

    #[test]
    fn series_are_told_apart() {
        let mut canvas = Canvas::new(6, 1);
        canvas.stroke(&[(0, 3), (3, 3)], 0);
        canvas.stroke(&[(2, 0), (5, 0)], 1);
        assert_eq!(rows(&canvas, Ink::Plain), ["⣀⣉⠉"]);
        assert_eq!(rows(&canvas, Ink::Markers), ["*++"]);
        assert_eq!(rows(&canvas, Ink::Colours), ["\u{1b}[36m⣀\u{1b}[33m⣉⠉\u{1b}[0m"]);
        assert_eq!([Ink::Plain.sample(1), Ink::Markers.sample(1)], ["⠶", "+"]);
        assert_eq!(Ink::Colours.sample(1), "\u{1b}[33m⠶\u{1b}[0m");
    }
}
