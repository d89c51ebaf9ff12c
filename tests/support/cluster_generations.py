"""A cluster's log with a random network's history, its registry, and workers of generations in this process.

Commands run as subprocesses, and may be told to die. Does not own what is asked of it.
"""

from __future__ import annotations

import asyncio
import os
import random
import subprocess
import sys
import time

import orjson

from ingest.log_kafka.client import new_admin
from ingest.log_kafka.topics import _configs
from processors.rebuild.kafka import ClusterGenerations
from processors.run_plain import PlainRunner
from tests.conftest import ROOT
from tests.support.cluster_views import TABLES, Feed, caught_up, made_network, topics
from tests.support.cql_store import drop_all
from tests.support.kafka_log import drop_topics
from tests.support.random_network import RandomNetwork
from views import ALL
from views.generations_scylla import CqlRegistry
from views.store_scylla import ScyllaStore

SHARDS = 2
PATIENCE = 240.0


class Cluster:
    """Make one with `await Cluster().open(...)`. Names are of `records`' shards: `SHARDS`."""

    async def open(self, kafka, cql, directory):
        self.kafka, self.cql = kafka, cql
        await topics(kafka, SHARDS)
        self.registry = await CqlRegistry.open(cql)
        self.generations = self.on(ALL)
        self.network = await made_network(directory, 3, shards=SHARDS, steps=80)
        self.people = RandomNetwork(random.Random(8), self.network.dids, self.network.now)
        self.feed = Feed(kafka, self.network)
        self.runners = {}
        self.stores = {}
        return self

    def on(self, views):
        return ClusterGenerations(
            self.registry, self.kafka, self.cql, views, shards=SHARDS, now=lambda: time.time_ns() // 1000
        )

    async def work(self, name, views=ALL):
        generation = await self.generations.enter(name)
        store = self.stores[name] = await ScyllaStore.open(self.cql, name, TABLES, create=False)
        runner = self.runners[name] = PlainRunner(
            self.kafka,
            store,
            views,
            generation=name,
            shards=SHARDS,
            settings=self.network.settings,
            held=generation.state == "building",
        )
        await runner.start()

    async def rest(self, name):
        await self.runners.pop(name).stop()
        await self.stores.pop(name).close()

    async def act(self, steps):
        for step in self.people.steps(steps):
            await self.network.do(step)
        await self.network.settle()
        await self.feed.send()

    async def seen(self, name):
        await caught_up(self.stores[name], self.feed.ends, self.runners[name], PATIENCE)

    async def states(self):
        return {each.name: each.state for each in await self.generations.all()}

    async def ready(self, name):
        await self.seen(name)
        async with asyncio.timeout(PATIENCE):
            while (await self.generations.advance(name)).state == "building":
                pass

    def settings(self):
        """Where everything is, as commands and roles are told it."""
        return {
            "kafka_servers": self.kafka.servers,
            "cluster": self.kafka.cluster,
            "cql_hosts": self.cql.hosts[0],
            "cql_port": str(self.cql.port),
            "cql_keyspace": self.cql.keyspace,
            "shards": str(SHARDS),
        }

    async def command(self, *words, crash=""):
        arguments = [word for name, value in self.settings().items() for word in ("--set", f"{name}={value}")]
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            *("-m", "headrace", *words, *arguments, "--json"),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            cwd=ROOT,
            env={**os.environ, "HEADRACE_CRASH": crash},
        )
        said, complained = await process.communicate()
        return process.returncode, said, complained.decode()

    async def lock_expires(self):
        """That of a command which died; else it takes 90 s."""
        gone = f"DELETE FROM {self.cql.keyspace}.locks WHERE name = 'generation' IF EXISTS"
        await self.registry.session.admin(gone)

    async def doctor(self, check):
        """What one check finds."""
        _, said, complained = await self.command("doctor")
        (found,) = [each for each in orjson.loads(said)["checks"] if each["check"] == check] or [complained]
        return found

    async def lag(self):
        """min.compaction.lag.ms of `records`."""
        admin = new_admin(self.kafka)
        await admin.start()
        try:
            found = await _configs(admin, [self.kafka.topic("records")])
        finally:
            await admin.close()
        return int(found[self.kafka.topic("records")]["min.compaction.lag.ms"])

    async def close(self):
        for name in list(self.runners):
            await self.rest(name)
        names = [each.name for each in await self.registry.all()]
        await self.registry.close()
        await self.network.close()
        await drop_topics(self.kafka)
        await drop_all(self.cql, *names)
