//! A call is in the manifest once, whoever publishes it and whatever fails.

use state::{Move, Published, SegmentFilter, SegmentRow};

use crate::world::{World, at, on_both};

fn segment(path: &str, day: u64) -> SegmentRow {
    SegmentRow {
        path: path.to_owned(),
        dataset: "calls".to_owned(),
        region: "eu-west-1".to_owned(),
        account: "222222222222".to_owned(),
        day,
        first: at(1),
        last: at(2),
        rows: 3,
        calls: 7,
        bytes: 100,
        hash: "h".to_owned(),
        made: at(3),
    }
}

fn moved(host: &str, from: u64, to: u64) -> Move {
    let (host, epoch) = (host.to_owned(), "e1".to_owned());
    Move { host, epoch, from, to, calls: to * 10, missing: 1 }
}

async fn paths(world: &World, from: u64, to: u64) -> Vec<String> {
    let filter = SegmentFilter { dataset: "calls".to_owned(), from, to };
    let segments = world.state.read().await.unwrap().segments(&filter).await.unwrap();
    segments.into_iter().map(|segment| segment.path).collect()
}

async fn next(world: &World, host: &str) -> Option<(u64, u64, u64)> {
    let mark = world.state.read().await.unwrap().watermark(host, "e1").await.unwrap();
    mark.map(|mark| (mark.next, mark.calls, mark.missing))
}

on_both! {
    async fn what_is_published_is_there_with_its_watermark_or_not_at_all(world) {
        let first = [moved("h1", 1, 5), moved("h2", 1, 2)];
        let state = &world.state;
        let segments = [segment("a", 20_261_124), segment("b", 20_261_125)];
        assert_eq!(state.publish(&segments, &first, at(5)).await.unwrap(), Published::Done);
        assert_eq!(paths(&world, 0, u64::MAX >> 1).await, ["a", "b"]);
        assert_eq!(paths(&world, 20_261_125, 20_261_125).await, ["b"]);
        assert_eq!((next(&world, "h1").await, next(&world, "h3").await), (Some((5, 50, 1)), None));

        // Another server has the same frames of h2, and more of h1.
        let again = [moved("h1", 5, 9), moved("h2", 1, 2)];
        let done = state.publish(&[segment("c", 20_261_125)], &again, at(6)).await.unwrap();
        assert_eq!(done, Published::Overtaken("h2".to_owned(), "e1".to_owned()));
        assert_eq!(next(&world, "h1").await, Some((5, 50, 1)));
        assert_eq!(paths(&world, 20_261_125, 20_261_125).await, ["b"]);

        let done = state.publish(&[segment("c", 20_261_125)], &again[..1], at(6)).await.unwrap();
        assert_eq!((done, next(&world, "h1").await), (Published::Done, Some((9, 90, 2))));
        assert_eq!(state.read().await.unwrap().watermarks().await.unwrap().len(), 2);
    }

    async fn of_two_servers_that_publish_the_same_frames_at_once_one_is_told_so(world) {
        let other = world.another().await;
        let (segments, moves) = ([segment("a", 1)], [moved("h1", 1, 5)]);
        let (one, two) = tokio::join!(
            world.state.publish(&segments, &moves, at(5)),
            other.publish(&segments, &moves, at(5)),
        );
        let done = [one, two].map(|done| done.unwrap() == Published::Done);
        assert_eq!(done.iter().filter(|done| **done).count(), 1);
        assert_eq!(next(&world, "h1").await, Some((5, 50, 1)));
        other.close().await;
    }

    async fn segments_are_replaced_by_others_all_at_once_and_their_files_outlive_them(world) {
        let state = &world.state;
        let segments = [segment("a", 1), segment("b", 1), segment("c", 1)];
        state.publish(&segments, &[], at(5)).await.unwrap();
        let both = ["a".to_owned(), "b".to_owned()];
        assert!(state.replace_segments(&[segment("ab", 1)], &both, at(6)).await.unwrap());
        assert_eq!(paths(&world, 1, 1).await, ["ab", "c"]);
        let late = ["c".to_owned(), "b".to_owned()];
        assert!(!state.replace_segments(&[segment("bc", 1)], &late, at(7)).await.unwrap());
        assert_eq!(paths(&world, 1, 1).await, ["ab", "c"]);

        let gone = async |before| {
            state.read().await.unwrap().segments_gone(at(before), 10).await.unwrap()
        };
        assert_eq!((gone(6).await, gone(7).await), (vec![], both.to_vec()));
        state.forget_gone(&both[..1]).await.unwrap();
        assert_eq!(gone(7).await, ["b"]);
    }
}
