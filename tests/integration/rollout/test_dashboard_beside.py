"""The dashboard beside real processes: what gateway, worker and controller say of themselves is on its pages."""

import re
import socket
from pathlib import Path

import httpx
import pytest
import yaml

from tests.dashboards import served
from tests.rollouts import PHASES, Users, fleet

pytestmark = pytest.mark.timeout(600)


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as sock:
        return int(sock.getsockname()[1])


def words(html: str) -> str:
    """What a reader sees, on one line."""
    return " ".join(re.sub(r"<(title|desc|script)[^>]*>.*?</\1>|<[^>]+>", " ", html, flags=re.DOTALL).split())


def test_what_running_processes_say_is_on_the_pages(tmp_path: Path):
    worker, controller = free_port(), free_port()
    shadow, *_ = PHASES
    phases = [{**shadow, "min_pairs": 1_000_000}]
    with fleet(tmp_path, phases=phases, live={"worker_admin": {"port": worker}}, admin={"port": controller}) as one:
        one.work()
        one.control()
        begun = one.command("start", "--by", "Ada", "--reason", "half the price")
        assert begun.returncode == 0, begun.stderr
        raw = yaml.safe_load((tmp_path / "live.yaml").read_text())
        raw["admin"] = {"port": one.gateways[0].admin}
        (tmp_path / "shown.yaml").write_text(yaml.safe_dump(raw))
        plan = yaml.safe_load((tmp_path / "rollout.yaml").read_text()) | {"live": "shown.yaml"}
        (tmp_path / "shown-rollout.yaml").write_text(yaml.safe_dump(plan))
        with (
            Users([one.gateways[0].port]).talking() as users,
            served(one.store_url, str(tmp_path / "shown-rollout.yaml")) as server,
        ):

            def run() -> str:
                answer = httpx.get(f"{server.address}run?id=shop", timeout=30)
                return words(answer.text) if answer.status_code == 200 else ""

            def rollout() -> str:
                return words(httpx.get(f"{server.address}rollout?live=shop", timeout=30).text)

            one.until(lambda: re.search(r"Over time .* estimate at each look", run()), 120)
            page = run()
            one.until(lambda: "What was asked of the evidence at the last look" in rollout(), 60)
            steps = rollout()
        assert users.wrong == []
    assert re.search(r"Gateway running for http://127\.0\.0\.1:\d+ Worker running since", page)
    assert re.search(r"Mirroring on \d+% of the requests", page)
    assert re.search(r"small openai/small closed asked \d", page)
    assert "do not add up" not in page
    assert "Does not add up" not in page
    eligible, sampled = (
        int(re.search(rf"{name} ([\d,]+)", page)[1].replace(",", "")) for name in ("Eligible", "Sampled")
    )
    assert eligible >= sampled > 0
    assert "Nothing needs anybody now." in page
    assert re.search(r"Controller at work Last step \S+ \S+ UTC It would \w+", steps)
