"""`headrace up` as clients see it: steps of a random network over HTTP, what was acknowledged, and what may have been.

`kept` is what every record must be, by the answers alone (URI to CID). What a request without an answer would have
changed is `unsure`, by account, from what to what, until the log has told which it was.
Does not own the process (`tests/support/network.py`).
"""

from __future__ import annotations

import asyncio
import re
from base64 import b64encode
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Self

import aiohttp
import apsw

from schemas.cid import Cid
from schemas.entry_codec import decode
from tests.oracle.model import Model
from tests.support.asking import AnsweredError, _text
from tests.support.fast_network import encoded
from tests.support.http_operations import Acknowledged, call_of, read_operations
from tests.support.network import Network
from tests.support.random_network import Named, Operate, Status, Step, Takedown, Write

Json = dict[str, Any]
PASSWORD = "a long password"
QUICK = {
    "rate_limits": "false",
    "pull_above": "2",
    "timeline_backfill": "3",
    "timeline_length": "5",
    "timeline_trim_every": "1",
}
_POLLS = 20_000


class DiedError(Exception):
    """The process is gone: the request has no answer."""


class HttpNetwork:
    """Use as an async context; `network` is the process. `dids` are the accounts, in the order they were made."""

    def __init__(self, directory: Path, shards: int = 1) -> None:
        self.network = Network(directory / "data", {**QUICK, "shards": str(shards)})
        self.dids: list[str] = []
        self.tokens: dict[str, str] = {}
        self.kept: dict[str, str] = {}
        self.unsure: dict[str, dict[str, tuple[str | None, str | None]]] = {}
        self.own = Acknowledged()
        self.blobs: dict[tuple[str, str], bytes] = {}
        self.gone: set[str] = set()
        self.asked = 0

    async def __aenter__(self) -> Self:
        self.session = aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(30))
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.session.close()
        self.network.kill()

    def start(self, crash: str | None = None) -> None:
        self.network.environment = {} if crash is None else {"HEADRACE_CRASH": crash}
        self.network.start()

    def said_to_crash(self, point: str) -> bool:
        return f"crash: {point}\n" in self.network.log.read_text()

    # --- requests ---

    async def call(self, method: str, nsid: str, did: str | None = None, **more: Any) -> tuple[int, Json]:
        headers = {} if did is None else {"Authorization": f"Bearer {self.tokens[did]}"}
        headers |= more.pop("headers", {})
        try:
            async with self.session.request(
                method, f"{self.network.url}/xrpc/{nsid}", headers=headers, **more
            ) as response:
                body = await response.read()
                if response.content_type != "application/json":
                    return response.status, {"body": body}
                return response.status, await response.json()
        except (aiohttp.ClientError, ConnectionError) as error:
            raise DiedError(nsid) from error

    async def ask(self, nsid: str, viewer: str | None, **parameters: Any) -> Json:
        """What `tests.oracle.compare` asks."""
        self.asked += 1
        query = []
        for name, value in parameters.items():
            said = None if value is None else _text(value)
            query += [(name, item) for item in said] if isinstance(said, list) else [(name, said)] if said else []
        status, body = await self.call("GET", nsid, viewer, params=query)
        assert status < 500, body
        if status != 200:
            raise AnsweredError(body["error"])
        return body

    # --- accounts ---

    async def join(self, number: int) -> None:
        """Make the account, or find that it was made before the process died."""
        name = f"name{number}"
        known = {"identifier": f"{name}.test", "password": PASSWORD}
        status, body = await self.call("POST", "com.atproto.server.createSession", json=known)
        if status != 200:
            new = {"handle": f"{name}.test", "email": f"{name}@example.com", "password": PASSWORD}
            status, body = await self.call("POST", "com.atproto.server.createAccount", json=new)
        assert status == 200, body
        self.dids.append(body["did"])
        self.tokens[body["did"]] = body["accessJwt"]

    async def leave(self, did: str) -> None:
        """Delete the account, with the token that is mailed to it."""
        status, body = await self.call("POST", "com.atproto.server.requestAccountDelete", did)
        assert status == 200, body
        mails = [path.read_text() for path in (self.network.data / "mail").glob("*.eml")]
        token = next(found[1] for mail in mails if did in mail and (found := re.search(r"token:\s+(\S+)", mail)))
        self.gone.add(did)
        self.own.forget(did)
        mine = {uri for uri in self.kept if uri.startswith(f"at://{did}/")}
        self.unsure[did] = {uri: (self.kept.pop(uri), None) for uri in mine}
        status, body = await self.call(
            "POST", "com.atproto.server.deleteAccount", json={"did": did, "password": PASSWORD, "token": token}
        )
        assert status == 200, body
        del self.unsure[did]

    # --- steps ---

    async def do(self, step: Step) -> None:
        """Raises DiedError; a refusal is an answer like any other."""
        if isinstance(step, Write):
            await self.write(step)
        elif isinstance(step, Status) and step.did not in self.gone:
            word = "activate" if step.status == "active" else "deactivate"
            await self._plain(f"com.atproto.server.{word}Account", step.did, {} if word == "deactivate" else None)
        elif isinstance(step, Named) and step.handle is not None and step.did not in self.gone:
            await self._plain("com.atproto.identity.updateHandle", step.did, {"handle": step.handle})
        elif isinstance(step, Takedown):
            await self._take_down(step)
        elif isinstance(step, Operate) and step.did not in self.gone:
            await self._operate(step)

    async def do_all(self, steps: Iterable[Step]) -> None:
        """Every account does its own steps in order, all accounts at once. Raises DiedError when all have noticed."""
        by_account: dict[str, list[Step]] = {}
        for step in steps:
            owner = step.subject.removeprefix("at://").split("/")[0] if isinstance(step, Takedown) else step.did
            by_account.setdefault(owner, []).append(step)
        ends = await asyncio.gather(*map(self._in_turn, by_account.values()), return_exceptions=True)
        for end in sorted((end for end in ends if end is not None), key=lambda end: isinstance(end, DiedError)):
            raise end

    async def _in_turn(self, steps: list[Step]) -> None:
        for step in steps:
            await self.do(step)

    async def _plain(self, nsid: str, did: str, body: Json | None) -> None:
        status, answer = await self.call("POST", nsid, did, **({} if body is None else {"json": body}))
        assert status < 500, (nsid, answer)

    async def _operate(self, step: Operate) -> None:
        nsid, body = call_of(step)
        self.own.begin(step)
        status, answer = await self.call("POST", nsid, step.did, json=body)
        self.own.answered(step, taken=status == 200)
        assert status < 500, (nsid, answer)

    async def _take_down(self, step: Takedown) -> None:
        kind = "com.atproto.admin.defs#repoRef" if step.subject.startswith("did:") else "com.atproto.repo.strongRef"
        subject: Json = {"$type": kind}
        if step.subject.startswith("did:"):
            subject["did"] = step.subject
        else:
            cid = self.kept.get(step.subject)
            if cid is None:
                return
            subject |= {"uri": step.subject, "cid": cid}
        secret = (self.network.data / "admin_token").read_text().strip()
        body = {"subject": subject, "takedown": {"applied": step.put}}
        headers = {"Authorization": "Basic " + b64encode(f"admin:{secret}".encode()).decode()}
        status, answer = await self.call("POST", "com.atproto.admin.updateSubjectStatus", headers=headers, json=body)
        assert status == 200, answer

    async def write(self, step: Write) -> None:
        """One commit: one call of the kind that fits."""
        did, writes = step.did, []
        change: dict[str, tuple[str | None, str | None]] = {}
        for path, value in step.changes:
            uri, (collection, _, rkey) = f"at://{did}/{path}", path.partition("/")
            before = self.kept.get(uri)
            if value is None and before is None:
                continue
            change[uri] = (before, None if value is None else str(Cid.of_cbor(encoded(value))))
            kind = "delete" if value is None else "create" if before is None else "update"
            write = {"$type": f"com.atproto.repo.applyWrites#{kind}", "collection": collection, "rkey": rkey}
            writes.append(write if value is None else {**write, "value": value})
        if not writes:
            return
        self.unsure[did] = change
        if len(writes) > 1:
            status, body = await self._post(did, "applyWrites", {"writes": writes, "validate": False})
            answers = body.get("results", [])
        else:
            (write,) = writes
            kind = write.pop("$type").partition("#")[2]
            if kind == "delete":
                status, body = await self._post(did, "deleteRecord", write)
            else:
                record = {"record": write.pop("value"), "validate": False}
                name = "createRecord" if kind == "create" else "putRecord"
                status, body = await self._post(did, name, {**write, **record})
            answers = [body]
        del self.unsure[did]
        assert status < 500, body
        if status == 200:
            for write, answer in zip(writes, answers, strict=True):
                uri = f"at://{did}/{write['collection']}/{write['rkey']}"
                if "cid" in answer:
                    self.kept[uri] = answer["cid"]
                else:
                    self.kept.pop(uri, None)

    async def _post(self, did: str, name: str, body: Json) -> tuple[int, Json]:
        return await self.call("POST", f"com.atproto.repo.{name}", did, json={"repo": did, **body})

    async def picture(self, did: str, content: bytes) -> Json | None:
        """Upload a blob; None when the account may not."""
        status, body = await self.call(
            "POST",
            "com.atproto.repo.uploadBlob",
            did,
            data=content,
            headers={"Content-Type": "image/png"},
        )
        assert status < 500, body
        return body["blob"] if status == 200 else None

    # --- afterwards ---

    async def settled(self) -> None:
        """Return when the views hold all that the log holds: every request is a look."""
        for _ in range(_POLLS):
            async with self.session.get(f"{self.network.ops_url}/status") as response:
                status = await response.json()
            assert status["views"]["ready"], status
            if status["views"]["behind"] == 0:
                return
        raise AssertionError(f"the views stay behind: {status}")

    def read(self) -> Model:
        """The model of what the log file holds, read beside the process that writes it."""
        connection = apsw.Connection(str(self.network.data / "log.sqlite"), flags=apsw.SQLITE_OPEN_READONLY)
        model = Model()
        try:
            for (body,) in connection.execute("SELECT body FROM commits ORDER BY id"):
                model.take(decode(body))
            read_operations(connection, model)
        finally:
            connection.close()
        return model

    def settle_unsure(self, model: Model) -> None:
        """What had no answer is as it was or as it was to be, all of it; what was set and acknowledged is there."""
        self.own.check(model)
        for change in self.unsure.values():
            found = {uri: model.records[uri].cid if uri in model.records else None for uri in change}
            was, would_be = ({uri: pair[at] for uri, pair in change.items()} for at in (0, 1))
            assert found in (was, would_be), f"half of a commit is there: {change}, {found}"
            for uri, cid in found.items():
                if cid is None:
                    self.kept.pop(uri, None)
                else:
                    self.kept[uri] = cid
        self.unsure = {}

    async def reads_back(self, model: Model) -> None:
        """Every acknowledged record is answered by its CID, or refused when its account or itself is hidden."""
        for uri, cid in sorted(self.kept.items()):
            did, collection, rkey = uri[5:].split("/")
            hidden = model.accounts[did].state != "active" or uri in model.takedowns
            query = {"repo": did, "collection": collection, "rkey": rkey}
            status, body = await self.call("GET", "com.atproto.repo.getRecord", params=query)
            assert (status, body.get("cid")) == ((400, None) if hidden else (200, cid)), (uri, body)
