//! Who plays in which team.

/// A search for a way to put parties into teams takes so many steps at the most. Eight teams of eight with parties of all sizes
/// take some dozens.
const STEPS: usize = 4_096;

/// Returns whether units of these sizes can be put into teams of these, each unit in one team, if there were single players
/// for what stays free. A unit that is larger than the largest team counts as so many single players.
pub(super) fn fit(units: &[usize], teams: &[u16]) -> bool {
    teams.is_empty() || put(units, teams).is_some()
}

/// Returns the team of each unit: those that are larger than the largest team have none. None: there is no way, or none was found.
fn put(units: &[usize], teams: &[u16]) -> Option<Vec<Option<usize>>> {
    let largest = teams.iter().copied().max().map_or(0, usize::from);
    let mut order: Vec<usize> = (0..units.len()).filter(|unit| units[*unit] <= largest).collect();
    order.sort_by_key(|unit| std::cmp::Reverse(units[*unit]));
    let mut free: Vec<usize> = teams.iter().copied().map(usize::from).collect();
    let mut placed = vec![None; units.len()];
    let mut steps = STEPS;
    search(units, &order, &mut free, &mut placed, &mut steps).then_some(placed)
}

fn search(
    units: &[usize],
    order: &[usize],
    free: &mut [usize],
    placed: &mut [Option<usize>],
    steps: &mut usize,
) -> bool {
    let Some((unit, rest)) = order.split_first() else { return true };
    // The fullest team that has room for it comes first; of equally full ones another one leads to nothing new.
    let mut teams: Vec<usize> = (0..free.len()).filter(|team| free[*team] >= units[*unit]).collect();
    teams.sort_by_key(|team| free[*team]);
    teams.dedup_by_key(|team| free[*team]);
    for team in teams {
        if *steps == 0 {
            return false;
        }
        *steps -= 1;
        free[team] -= units[*unit];
        placed[*unit] = Some(team);
        if search(units, rest, free, placed, steps) {
            return true;
        }
        free[team] += units[*unit];
        placed[*unit] = None;
    }
    false
}

/// Splits players with these numbers, unit by unit, into teams of these sizes, so that the teams' means are near each other and
/// each unit of a party is in one team if the largest team has room for it. The best unit left goes where the sum of what is
/// there, for the places of the team, is least; then two units of one size change places while that helps. Returns the players'
/// indices; none: parties of these sizes do not go into these teams.
pub(super) fn split(units: &[Vec<i32>], sizes: &[u16]) -> Option<Vec<Vec<usize>>> {
    if sizes.is_empty() {
        return Some(Vec::new());
    }
    let largest = sizes.iter().copied().max().map_or(0, usize::from);
    // What stays together: indices of players, and their numbers.
    let mut blocks: Vec<(Vec<usize>, Vec<i32>)> = Vec::new();
    let mut next = 0;
    for unit in units {
        let indices: Vec<usize> = (next..next + unit.len()).collect();
        next += unit.len();
        if unit.len() <= largest {
            blocks.push((indices, unit.clone()));
        } else {
            blocks.extend(indices.into_iter().zip(unit).map(|(index, number)| (vec![index], vec![*number])));
        }
    }
    let lowest = units.iter().flatten().copied().min().map_or(0, i64::from);
    let worth =
        |block: &(Vec<usize>, Vec<i32>)| block.1.iter().map(|number| i64::from(*number) - lowest).sum();
    let weights: Vec<i64> = blocks.iter().map(worth).collect();
    let lengths: Vec<usize> = blocks.iter().map(|(indices, _)| indices.len()).collect();
    let mut teams = spread(&lengths, &weights, sizes)?;
    let share = |team: &[usize], size: u16| {
        team.iter().map(|block| weights[*block]).sum::<i64>() as f64 / f64::from(size.max(1))
    };
    let uneven = |teams: &[Vec<usize>]| {
        let shares = || teams.iter().zip(sizes).map(|(team, size)| share(team, *size));
        shares().fold(f64::MIN, f64::max) - shares().fold(f64::MAX, f64::min)
    };
    // Each change makes them less uneven; 64 are enough for 64 players, and bound the work.
    for _ in 0..64 {
        let now = uneven(&teams);
        let Some(change) = better_change(&mut teams, &lengths, now, &uneven) else { break };
        swap(&mut teams, change);
    }
    let players = |team: Vec<usize>| team.into_iter().flat_map(|block| blocks[block].0.clone()).collect();
    Some(teams.into_iter().map(players).collect())
}

/// Puts blocks of these lengths into teams: the best one for each place first; where that leads to no end, the largest first.
fn spread(lengths: &[usize], weights: &[i64], sizes: &[u16]) -> Option<Vec<Vec<usize>>> {
    let mut order: Vec<usize> = (0..lengths.len()).collect();
    order.sort_by_key(|block| {
        (std::cmp::Reverse(lengths[*block]), std::cmp::Reverse(weights[*block]), *block)
    });
    let mut teams: Vec<Vec<usize>> = vec![Vec::new(); sizes.len()];
    let places = |team: &[usize]| team.iter().map(|block| lengths[*block]).sum::<usize>();
    let share = |team: &[usize], size: u16| {
        team.iter().map(|block| weights[*block]).sum::<i64>() as f64 / f64::from(size.max(1))
    };
    for block in &order {
        let open = (0..sizes.len())
            .filter(|team| places(&teams[*team]) + lengths[*block] <= usize::from(sizes[*team]));
        let least = open.min_by(|one, other| {
            let of = |team: usize| share(&teams[team], sizes[team]);
            of(*one).total_cmp(&of(*other)).then(one.cmp(other))
        });
        match least {
            Some(team) => teams[team].push(*block),
            None => {
                let placed = put(lengths, sizes)?;
                let of = |team| (0..lengths.len()).filter(|block| placed[*block] == Some(team)).collect();
                return Some((0..sizes.len()).map(of).collect());
            }
        }
    }
    Some(teams)
}

type Change = ((usize, usize), (usize, usize));

fn swap(teams: &mut [Vec<usize>], (one, other): Change) {
    let (first, second) = (teams[one.0][one.1], teams[other.0][other.1]);
    teams[one.0][one.1] = second;
    teams[other.0][other.1] = first;
}

/// Returns the first change of places found that makes the teams less uneven.
fn better_change(
    teams: &mut [Vec<usize>],
    lengths: &[usize],
    now: f64,
    uneven: &impl Fn(&[Vec<usize>]) -> f64,
) -> Option<Change> {
    for one in 0..teams.len() {
        for other in one + 1..teams.len() {
            for first in 0..teams[one].len() {
                for second in 0..teams[other].len() {
                    if lengths[teams[one][first]] != lengths[teams[other][second]] {
                        continue;
                    }
                    let change = ((one, first), (other, second));
                    swap(teams, change);
                    let then = uneven(teams);
                    swap(teams, change);
                    if then < now - 1e-9 {
                        return Some(change);
                    }
                }
            }
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn single(numbers: &[i32], sizes: &[u16]) -> Vec<Vec<usize>> {
        let units: Vec<Vec<i32>> = numbers.iter().map(|number| vec![*number]).collect();
        split(&units, sizes).unwrap()
    }

    #[test]
    fn teams_have_their_sizes_and_are_balanced() {
        let numbers = [1900, 1500, 1450, 1100];
        let teams = single(&numbers, &[2, 2]);
        let sum = |team: &[usize]| team.iter().map(|player| numbers[*player]).sum::<i32>();
        assert_eq!(teams.iter().map(Vec::len).collect::<Vec<_>>(), [2, 2]);
        assert_eq!((sum(&teams[0]) - sum(&teams[1])).abs(), 50, "1900 + 1100 against 1500 + 1450: {teams:?}");
        let uneven = single(&[5; 5], &[1, 4]);
        assert_eq!(uneven.iter().map(Vec::len).collect::<Vec<_>>(), [1, 4]);
        let mut all: Vec<usize> = single(&(0..64).collect::<Vec<i32>>(), &[8; 8]).concat();
        all.sort_unstable();
        assert_eq!(all, (0..64).collect::<Vec<_>>());
        assert_eq!(single(&[i32::MIN, i32::MAX], &[1, 1]).concat().len(), 2);
    }

    #[test]
    fn a_party_is_in_one_team_unless_it_is_larger_than_each() {
        let together = |teams: &[Vec<usize>], party: &[usize]| {
            teams.iter().any(|team| party.iter().all(|player| team.contains(player)))
        };
        // 1: two, 2: three, and five single players.
        let mut units = vec![vec![900, 800], vec![500, 500, 500]];
        units.extend([100, 300, 200, 900, 50].map(|number| vec![number]));
        let teams = split(&units, &[4, 6]).unwrap();
        assert_eq!(teams.iter().map(Vec::len).collect::<Vec<_>>(), [4, 6]);
        assert!(together(&teams, &[0, 1]) && together(&teams, &[2, 3, 4]), "{teams:?}");
        // Three parties of two go into teams of three with nobody else? They do not.
        assert_eq!(split(&vec![vec![1, 1]; 3], &[3, 3]), None);
        assert!(fit(&[2, 2], &[3, 3]) && !fit(&[2, 2, 2], &[3, 3]) && fit(&[2, 2, 2], &[]));
        // The two best go where the largest first would have to: 3 and 2+1, not 3 and 2+2.
        assert!(fit(&[3, 2, 1], &[3, 3]) && fit(&[4, 3, 3, 2], &[6, 6]) && fit(&[5, 4, 3, 3, 3], &[9, 9]));
        // A party of four against itself.
        let teams = split(&[vec![4, 3, 2, 1]], &[2, 2]).unwrap();
        assert_eq!(teams.iter().map(Vec::len).collect::<Vec<_>>(), [2, 2]);
        assert!(fit(&[64], &[8; 8]) && fit(&[8; 8], &[8; 8]));
    }

    #[test]
    fn a_search_that_leads_to_nothing_ends() {
        // 63 places in parties of seven, which do not go into eight teams of eight.
        assert!(!fit(&[7; 9], &[8; 8]));
        assert!(!fit(&[6, 6, 6, 5, 5, 5, 5, 5, 5, 5, 5, 5], &[8; 8]));
    }
}
