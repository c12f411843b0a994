//! Who plays in which team.

/// Splits players with these numbers into teams of these sizes, so that the teams' means are near each other: the best one
/// left goes where the sum of what is there, for the places of the team, is least; then two change places while that helps.
/// Returns the players' indices.
pub(super) fn split(numbers: &[i32], sizes: &[u16]) -> Vec<Vec<usize>> {
    let mut order: Vec<usize> = (0..numbers.len()).collect();
    order.sort_by_key(|index| (std::cmp::Reverse(numbers[*index]), *index));
    let lowest = i64::from(numbers.iter().copied().min().unwrap_or(0));
    let above = |index: &usize| i64::from(numbers[*index]) - lowest;
    let mut teams: Vec<Vec<usize>> = vec![Vec::new(); sizes.len()];
    // What a team has for each of its places; the products compare without division.
    let share =
        |team: &[usize], size: u16| team.iter().map(above).sum::<i64>() as f64 / f64::from(size.max(1));
    for player in order {
        let open = (0..sizes.len()).filter(|team| teams[*team].len() < usize::from(sizes[*team]));
        let least = open.min_by(|one, other| {
            let of = |team: usize| share(&teams[team], sizes[team]);
            of(*one).total_cmp(&of(*other)).then(one.cmp(other))
        });
        if let Some(team) = least {
            teams[team].push(player);
        }
    }
    let uneven = |teams: &[Vec<usize>]| {
        let shares = || teams.iter().zip(sizes).map(|(team, size)| share(team, *size));
        shares().fold(f64::MIN, f64::max) - shares().fold(f64::MAX, f64::min)
    };
    // Each change makes them less uneven; 64 are enough for 64 players, and bound the work.
    for _ in 0..64 {
        let now = uneven(&teams);
        let Some(change) = better_change(&mut teams, now, &uneven) else { break };
        swap(&mut teams, change);
    }
    teams
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
    now: f64,
    uneven: &impl Fn(&[Vec<usize>]) -> f64,
) -> Option<Change> {
    for one in 0..teams.len() {
        for other in one + 1..teams.len() {
            for first in 0..teams[one].len() {
                for second in 0..teams[other].len() {
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

    #[test]
    fn teams_have_their_sizes_and_are_balanced() {
        let numbers = [1900, 1500, 1450, 1100];
        let teams = split(&numbers, &[2, 2]);
        let sum = |team: &[usize]| team.iter().map(|player| numbers[*player]).sum::<i32>();
        assert_eq!(teams.iter().map(Vec::len).collect::<Vec<_>>(), [2, 2]);
        assert_eq!((sum(&teams[0]) - sum(&teams[1])).abs(), 50, "1900 + 1100 against 1500 + 1450: {teams:?}");
        let uneven = split(&[5; 5], &[1, 4]);
        assert_eq!(uneven.iter().map(Vec::len).collect::<Vec<_>>(), [1, 4]);
        let mut all: Vec<usize> = split(&(0..64).collect::<Vec<i32>>(), &[8; 8]).concat();
        all.sort_unstable();
        assert_eq!(all, (0..64).collect::<Vec<_>>());
        assert_eq!(split(&[i32::MIN, i32::MAX], &[1, 1]).concat().len(), 2);
    }
}
