import { expect, test } from "vitest";
import { ContainerState } from "#contracts/container/v1/container";
import { systemClock } from "#libs/clock";
import { silentLogger } from "#libs/logger";
import { eventually, temporaryFolder } from "#libs/testing";
import type { EngineEvent } from "../container-engine.ts";
import { containerDefinition } from "../testing/container-definition.ts";
import type { Happened } from "../workload.ts";
import { dataFolder } from "../workload-folder.ts";
import { Container } from "./container.ts";
import { containerFolder } from "./container-folder.ts";
import { KeptBack } from "./kept-back.ts";
import { type NotingParts, noteEvent } from "./note-event.ts";

const NANOS_IN_MS = 1e6;

/** A container that the engine has started, with a limit to its memory unless `memoryBytes` says 0. */
async function world(root: string, memoryBytes = 2 ** 24) {
  const told: Happened[] = [];
  const definition = containerDefinition("busybox", { limits: { cpuMillis: 0, memoryBytes, pids: 0 } });
  const { uid } = definition;
  const owner = { operation: "op-1", epoch: 1 };
  const manifest = {
    version: 1,
    uid,
    owner,
    image: "i",
    hasHealthCheck: false,
    hostMounts: [],
    isStopped: false,
  } as const;
  const deps = {
    logger: silentLogger,
    observe: (_: unknown, happened: Happened) => void told.push(happened),
    reserve: { spend: <Result>(write: () => Promise<Result>) => write() },
  } as unknown as ConstructorParameters<typeof Container>[0]["deps"];
  const container = new Container({ definition, manifest, deps, folder: containerFolder(dataFolder(root), uid) });
  const parts = {
    containers: { find: () => container },
    ends: new KeptBack(systemClock),
    engine: { logs: async function* () {} },
    restarts: { consider: () => undefined },
    ...{ clock: systemClock, logger: silentLogger },
  } as unknown as NotingParts;
  let time = Date.now() * NANOS_IN_MS;
  type News = { readonly kind: "started" | "outOfMemory" } | { readonly kind: "ended"; readonly exitCode: number };
  const happens = (news: News) => {
    time += NANOS_IN_MS;
    return noteEvent(parts, { ...news, uid, time } as EngineEvent);
  };
  await happens({ kind: "started" });
  const reasons = () => told.flatMap((it) => ("container" in it && it.reason !== "" ? [it.reason] : []));
  const isOver = () => container.status.state === ContainerState.EXITED;
  return { container, happens, reasons, isOver };
}

const killed = { kind: "ended", exitCode: 137 } as const;

test.for([
  ["before", [{ kind: "outOfMemory" }, killed]],
  ["after", [killed, { kind: "outOfMemory" }]],
] as const)("that the memory ran out is told as its end also when it comes %s that", async ([, news]) => {
  await using folder = temporaryFolder();
  const { container, happens, reasons, isOver } = await world(folder.path);
  for (const one of news) await happens(one);
  expect(isOver()).toBe(true);
  expect(container.status.lastExit).toMatchObject({ exitCode: 137, outOfMemory: true });
  expect(reasons()).toEqual(["killed: out of memory"]);
  await happens({ kind: "started" });
  await happens({ kind: "ended", exitCode: 3 });
  expect(container.status.lastExit).toMatchObject({ exitCode: 3, outOfMemory: false });
});

test("a SIGKILL of which nothing more is told is one soon after", async () => {
  await using folder = temporaryFolder();
  const { container, happens, reasons, isOver } = await world(folder.path);
  await happens(killed);
  expect(isOver()).toBe(false);
  await eventually(isOver);
  expect(container.status.lastExit).toMatchObject({ exitCode: 137, outOfMemory: false });
  expect(reasons()).toEqual(["ended by signal 9"]);
});

test("one without a limit cannot run out, and its end is told at once", async () => {
  await using folder = temporaryFolder();
  const { happens, isOver } = await world(folder.path, 0);
  await happens(killed);
  expect(isOver()).toBe(true);
});
