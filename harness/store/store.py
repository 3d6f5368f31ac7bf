"""The comparison DB as the stages see it."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from types import TracebackType
from typing import TYPE_CHECKING, Self

from harness.domain.attempt import Attempt
from harness.domain.exchange import Exchange
from harness.domain.json import Json
from harness.domain.judgment import Judgment, Order
from harness.domain.label import HumanLabel, PlannedLabel
from harness.domain.observation import Observation
from harness.domain.pair import Pair
from harness.domain.run import IngestReport, Run
from harness.store import (
    attempts,
    exchanges,
    judgments,
    labels,
    observations,
    paging,
    pairs,
    retention,
    runs,
    schema,
    texts,
)
from harness.store.batch_store import BatchStore
from harness.store.connection import Database
from harness.store.counts import JudgmentCounts, ObservationCounts
from harness.store.maintained import MaintainedStore
from harness.store.rollout_store import RolloutStore
from harness.store.runs import DecisionRecord
from harness.store.watched import WatchedStore

if TYPE_CHECKING:
    from harness.stats.evidence import Evidence


class Store(RolloutStore, WatchedStore, BatchStore, MaintainedStore):
    """Everything a run knows, on SQLite or PostgreSQL.

    Synchronous and safe to share between threads. Every write is one transaction and idempotent on its natural key:
    (run, exchange), (run, arm, fingerprint, exchange), and those with judge fingerprint and order. Readers see
    committed rows only, also while another thread or process writes. Iterators read in short transactions, so a
    consumer may take its time and may write while it reads. Exchanges always come in ascending position.

    Any method raises InfrastructureError when the database cannot be used, and those that write DataRefusedError when
    it cannot hold one of the rows.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    @classmethod
    def open(cls, url: str, *, create: bool = True, read_only: bool = False, patience_s: float = 0.0) -> Self:
        """Open a store and bring its tables up to date.

        Args:
            url: ``sqlite:///path/to/file.db`` or ``postgresql://user@host/database``.
            create: make the SQLite file when it does not exist.
            read_only: have the database refuse whatever would change it; one of another version is not opened.
            patience_s: how long each call waits for a PostgreSQL server that was lost or restarts, seconds. 0 for
                those who hold something others wait for, or who try again themselves.

        Raises:
            ConfigurationError: the URL is not one of a store.
            InfrastructureError: the store cannot be reached, or was written by a newer version.
        """
        database = Database(url, create=create and not read_only, read_only=read_only, patience_s=patience_s)
        try:
            if read_only:
                schema.require(database)
            else:
                schema.ensure(database)
        except BaseException:
            database.close()
            raise
        return cls(database)

    @property
    def url(self) -> str:
        """The address it was opened with, its password included: for another process of ours, never to be shown."""
        return self._database.engine.url.render_as_string(hide_password=False)

    def give_up(self) -> None:
        """Wait no longer for a server that is away, neither now nor later."""
        self._database.give_up()

    def close(self) -> None:
        """Close all connections; iterators that are still running fail."""
        self._database.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"Store({self._database.label!r})"

    # Runs

    def save_run(self, run: Run) -> None:
        """Insert the run, or replace what is known about it."""
        self._database.writing(runs.save, run)

    def run(self, run_id: str) -> Run | None:
        """The run, or ``None``."""
        return next(iter(self._database.reading(runs.load, run_id)), None)

    def runs(self) -> list[Run]:
        """All runs, oldest first."""
        return self._database.reading(runs.load)

    def delete_run(self, run_id: str) -> None:
        """Remove everything known about the run; the attempts it made stay in the ledger."""
        self._database.writing(runs.delete, run_id)
        self._database.forget(run_id)

    def save_ingest_report(self, run_id: str, report: IngestReport) -> None:
        """Insert the report, or replace it."""
        self._database.writing(runs.save_ingest_report, run_id, report)

    def ingest_report(self, run_id: str) -> IngestReport | None:
        """What the ingest stage read; ``None`` until it has finished."""
        return self._database.reading(runs.load_ingest_report, run_id)

    def save_decision(
        self, run_id: str, *, decided_at: datetime, experiment_sha256: str, decision: Mapping[str, Json]
    ) -> None:
        """Add a decision, as JSON, to the run's history."""
        record = DecisionRecord(decided_at=decided_at, experiment_sha256=experiment_sha256, decision=decision)
        self._database.writing(runs.save_decision, run_id, record)

    def decisions(self, run_id: str) -> list[DecisionRecord]:
        """Every decision taken on the run, oldest first."""
        return self._database.reading(runs.load_decisions, run_id)

    # Exchanges

    def put_exchanges(self, run_id: str, items: Sequence[tuple[Exchange, float]]) -> None:
        """Insert exchanges with their position, together with production's observations, or replace them."""
        narrow, texts, slices, production = exchanges.prepare(run_id, items, datetime.now(UTC))
        self._database.make_room(run_id)
        self._database.writing(exchanges.put, run_id, narrow, texts, slices, production)
        self._database.wrote(len(items), run_id)

    def remove_exchanges(self, run_id: str, ids: Sequence[str]) -> None:
        """Take exchanges out of the sample; what candidates answered is kept for when they come back."""
        self._database.writing(exchanges.remove, run_id, ids)

    def clear_exchanges(self, run_id: str) -> None:
        """Take all exchanges out of the sample, for an ingest that starts again."""
        self._database.writing(exchanges.remove, run_id, None)

    def exchanges(self, run_id: str, *, ids: Sequence[str] | None = None) -> Iterator[Exchange]:
        """The run's exchanges, or those of them with these ids."""
        return exchanges.read(self._database, run_id, paging.keys(run_id), ids)

    def count_exchanges(self, run_id: str) -> int:
        """How many exchanges were sampled."""
        return self._database.reading(exchanges.count, run_id)

    def last_position(self, run_id: str) -> float | None:
        """The position of the run's last exchange; ``None`` when it has none."""
        return self._database.reading(exchanges.last_position, run_id)

    def exchange_sources(self, run_id: str, ids: Sequence[str]) -> dict[str, str | None]:
        """Which of these exchanges the run has, with the file each came from."""
        return self._database.reading(exchanges.sources, run_id, ids)

    def unasked_exchanges(
        self, run_id: str, arm: str, fingerprint: str, *, after: float = float("-inf"), limit: int
    ) -> list[tuple[float, Exchange]]:
        """The next exchanges, with their positions, that this arm has no observation of, however it ended.

        Unlike :meth:`pending_exchanges`, for traffic that is asked as it comes: what was dropped stays dropped.
        """
        return self._database.reading(exchanges.load_unasked, run_id, arm, fingerprint, after=after, limit=limit)

    def count_unasked_exchanges(self, run_id: str, arm: str, fingerprint: str) -> int:
        """How many exchanges :meth:`unasked_exchanges` would give in all."""
        return self._database.reading(exchanges.count_unasked, run_id, arm, fingerprint)

    def put_attribute(self, run_id: str, key: str, values: Mapping[str, str]) -> None:
        """Give exchanges, by id, a slice attribute that is worked out after ingest; the key's earlier rows are gone.

        Reading the export again drops it: whoever derives an attribute from the sample derives it from that sample.
        """
        self._database.writing(exchanges.put_attribute, run_id, key, values)

    def attribute_keys(self, run_id: str) -> list[str]:
        """The slice attributes that the run's exchanges have, sorted."""
        return self._database.reading(exchanges.attribute_keys, run_id)

    def attribute_values(self, run_id: str, key: str) -> dict[str, int]:
        """The values of a slice attribute with their number of exchanges, most frequent first."""
        return self._database.reading(exchanges.attribute_values, run_id, key)

    # Observations

    def put_observations(self, run_id: str, items: Sequence[Observation]) -> None:
        """Insert observations, or replace those of the same exchange, arm and fingerprint.

        What a replaced call had cost stays counted in :meth:`spent`.
        """
        prepared = observations.prepare(run_id, items, datetime.now(UTC))
        self._database.make_room(run_id)
        self._database.writing(observations.put, prepared)
        self._database.wrote(len(items), run_id)

    def observations(self, run_id: str, arm: str, fingerprint: str) -> Iterator[Observation]:
        """The arm's observations of sampled exchanges, whatever their status."""
        return observations.read(self._database, run_id, arm, fingerprint)

    def pending_exchanges(
        self,
        run_id: str,
        arm: str,
        fingerprint: str,
        *,
        share: float | None = None,
        first: int | None = None,
        retry_setup_errors: bool = True,
        retry_errors: bool = False,
    ) -> Iterator[Exchange]:
        """The exchanges this arm still has to be asked, under this fingerprint.

        Dropped and skipped ones count as unfinished, and so do those that failed because of our own set-up (key,
        permission, quota, model name); with ``retry_errors`` all failed ones do. ``share`` and ``first`` limit to the
        first part, or number, of the run's exchanges by position: always the same ones.
        """
        statement = exchanges.pending(
            run_id, arm, fingerprint, retry_setup_errors=retry_setup_errors, retry_errors=retry_errors
        )
        statement = statement.where(exchanges.among_first(self._database, run_id, share=share, first=first))
        return exchanges.read(self._database, run_id, statement)

    def count_pending_exchanges(
        self,
        run_id: str,
        arm: str,
        fingerprint: str,
        *,
        share: float | None = None,
        first: int | None = None,
        retry_setup_errors: bool = True,
        retry_errors: bool = False,
    ) -> int:
        """How many exchanges :meth:`pending_exchanges` gives now."""
        statement = exchanges.pending(
            run_id, arm, fingerprint, retry_setup_errors=retry_setup_errors, retry_errors=retry_errors
        )
        statement = statement.where(exchanges.among_first(self._database, run_id, share=share, first=first))
        return paging.count(self._database, statement)

    def was_asked(self, run_id: str, arm: str, fingerprint: str) -> bool:
        """Whether any sampled request was asked of this arm: answered, or failed."""
        return self._database.reading(observations.is_any, run_id, arm, fingerprint)

    def observation_counts(
        self, run_id: str, arm: str, fingerprint: str, *, since: datetime | None = None
    ) -> ObservationCounts:
        """How the sampled requests ended in this arm, for the funnel; production's under ``""``.

        With ``since``, of the requests from then on.
        """
        return self._database.reading(observations.count, run_id, arm, fingerprint, since=since)

    def arm_counts(self, run_id: str, arm: str, fingerprint: str) -> tuple[ObservationCounts, int]:
        """:meth:`observation_counts` and :meth:`count_unasked_exchanges` of one moment, so that they add up."""
        return self._database.reading(exchanges.count_arm, run_id, arm, fingerprint)

    # Pairs and judgments

    def pairs(self, run_id: str, arm: str, fingerprint: str, *, ids: Sequence[str] | None = None) -> Iterator[Pair]:
        """Every exchange with an observation of this arm, comparable or not."""
        statement = observations.observed(run_id, arm, fingerprint)
        return pairs.read(self._database, run_id, arm, fingerprint, statement=statement, ids=ids)

    def pending_pairs(
        self,
        run_id: str,
        arm: str,
        fingerprint: str,
        *,
        judge_fingerprint: str,
        orders: Sequence[Order],
        first: int | None = None,
        retry_errors: bool = True,
    ) -> Iterator[Pair]:
        """The comparable pairs that lack a finished judgment in any of the orders.

        Judgments in error (unless ``retry_errors`` is off), and those skipped because the budget was spent, are
        unfinished. A judgment in order ``none`` finishes the pair for every order. ``first`` limits to as many of the
        run's exchanges by position.
        """
        statement = judgments.pending(
            run_id,
            arm,
            fingerprint,
            judge_fingerprint=judge_fingerprint,
            orders=orders,
            retry_errors=retry_errors,
        )
        statement = statement.where(exchanges.among_first(self._database, run_id, first=first))
        return pairs.read(self._database, run_id, arm, fingerprint, statement=statement)

    def count_pending_pairs(
        self,
        run_id: str,
        arm: str,
        fingerprint: str,
        *,
        judge_fingerprint: str,
        orders: Sequence[Order],
        first: int | None = None,
        retry_errors: bool = True,
    ) -> int:
        """How many pairs :meth:`pending_pairs` gives now."""
        statement = judgments.all_pending(
            run_id,
            arm,
            fingerprint,
            judge_fingerprint=judge_fingerprint,
            orders=orders,
            retry_errors=retry_errors,
        )
        statement = statement.where(exchanges.among_first(self._database, run_id, first=first))
        return paging.count(self._database, statement)

    def put_judgments(self, run_id: str, items: Sequence[Judgment]) -> None:
        """Insert judgments, or replace those of the same pair, judge fingerprint and order."""
        prepared = judgments.prepare(run_id, items, datetime.now(UTC))
        self._database.make_room(run_id)
        self._database.writing(judgments.put, prepared)
        self._database.wrote(len(items), run_id)

    def judgments(
        self,
        run_id: str,
        arm: str,
        fingerprint: str,
        *,
        ids: Sequence[str],
        judge_fingerprints: Sequence[str] | None = None,
    ) -> list[Judgment]:
        """The judgments of these exchanges, by all judges or by those with these fingerprints."""
        return self._database.reading(
            judgments.load, run_id, arm, fingerprint, ids=ids, judge_fingerprints=judge_fingerprints
        )

    def pair_texts(self, run_id: str, arm: str, fingerprint: str, *, judges: Mapping[str, str]) -> Iterator[bytes]:
        """Every pair of the arm with all its words as one line of JSON, in ascending id.

        ``judges`` is judge fingerprint to name; judgments of others are left out.
        """
        return texts.read(self._database, run_id, arm, fingerprint, judges=judges)

    def count_judgments(self, run_id: str, arm: str, fingerprint: str, *, judge_fingerprint: str) -> int:
        """How many judgments of the arm one judge has given, in error ones included."""
        return self._database.reading(judgments.count, run_id, arm, fingerprint, judge_fingerprint)

    # People

    def put_labels(self, run_id: str, items: Sequence[HumanLabel]) -> None:
        """Insert labels, or replace those of the same pair and labeller."""
        self._database.writing(labels.put, run_id, items)

    def labels(self, run_id: str, arm: str, fingerprint: str) -> list[HumanLabel]:
        """Every label on the arm's answers, skipped pairs included, by exchange and labeller."""
        return self._database.reading(labels.load, run_id, arm, fingerprint)

    def put_label_plan(self, run_id: str, arm: str, fingerprint: str, items: Sequence[PlannedLabel]) -> None:
        """Insert pairs that were drawn to be labelled, or replace them."""
        self._database.writing(labels.put_plan, run_id, arm, fingerprint, items, datetime.now(UTC))

    def label_plan(self, run_id: str, arm: str, fingerprint: str) -> list[PlannedLabel]:
        """The pairs drawn to be labelled, in the order in which they are shown."""
        return self._database.reading(labels.load_plan, run_id, arm, fingerprint)

    # Attempts

    def begin_attempt(
        self, *, family: str, fingerprint: str, sequence: str, arm: str, run_id: str, alpha_of: Callable[[int], float]
    ) -> Attempt:
        """This candidate's attempt on this traffic; entered with ``alpha_of(number)`` when it is a new one."""
        return self._database.writing(
            attempts.begin,
            family=family,
            fingerprint=fingerprint,
            sequence=sequence,
            arm=arm,
            run_id=run_id,
            alpha_of=alpha_of,
            now=datetime.now(UTC),
        )

    def record_attempt(self, attempt: Attempt, *, verdict: str, n_pairs: int) -> None:
        """Note what an attempt has come to so far."""
        self._database.writing(attempts.record, attempt, verdict=verdict, n_pairs=n_pairs, now=datetime.now(UTC))

    def attempts(self, family: str | None = None) -> list[Attempt]:
        """Every attempt, or those of one family, in the order in which they began."""
        return self._database.reading(attempts.load, family)

    # Numbers

    def evidence(
        self,
        run_id: str,
        arm: str,
        fingerprint: str,
        *,
        judges: Mapping[str, tuple[str, str]],
        attributes: Sequence[str] = (),
        cluster_by: str | None = None,
    ) -> "Evidence":
        """One row of numbers per sampled exchange, in ascending position; no text is read.

        See :meth:`counted_evidence`.
        """
        [(found, _)] = self.counted_evidence(
            run_id, [(arm, fingerprint)], judges=judges, attributes=attributes, cluster_by=cluster_by
        )
        return found

    def counted_evidence(
        self,
        run_id: str,
        arms: Sequence[tuple[str, str]],
        *,
        judges: Mapping[str, tuple[str, str]],
        attributes: Sequence[str] = (),
        cluster_by: str | None = None,
    ) -> "list[tuple[Evidence, dict[str, JudgmentCounts]]]":
        """Every arm's evidence, and by judge name what it made of the arm's pairs, all of the same moment.

        The evidence has one row of numbers per sampled exchange, in ascending position; no text is read. Where the arm
        was not asked its status is ``""``. The counts are coverage, preferences, position bias and spend.

        Args:
            run_id: The run.
            arms: Name of the candidate, or ``replica``, and which of its configurations: (name, fingerprint).
            judges: Judge name to (judge fingerprint, metric name).
            attributes: Slice attributes to load; several tags of one exchange are joined with `` + ``.
            cluster_by: ``session``, ``user``, ``exchange`` or a slice attribute (``metadata.team``) to use as cluster
                where an exchange has it; the exchange's own cluster elsewhere.
        """
        from harness.store import evidence

        return self._database.reading_twice(
            evidence.load, run_id, arms, judges=judges, attributes=attributes, cluster_by=cluster_by
        )

    def spent(self, run_id: str) -> dict[str, float]:
        """Dollars spent in the run so far, by purse: ``candidates`` (the replica's too) and ``judges``.

        Calls at an unknown price are not in it; :meth:`unpriced` counts them.
        """
        candidates, judging = self._database.reading(retention.spent, run_id)
        return {"candidates": candidates, "judges": judging}

    def spent_since(self, run_id: str, since: datetime) -> tuple[dict[str, float], float]:
        """Dollars spent in the run since then: by arm, and on judges."""
        return self._database.reading(judgments.spending_of_all_since, run_id, since)

    def unpriced(self, run_id: str) -> dict[str, int]:
        """Calls of the run at an unknown price, by purse."""
        candidates, judging = self._database.reading(judgments.spending_of_all, run_id)
        return {"candidates": candidates[1], "judges": judging[1]}
