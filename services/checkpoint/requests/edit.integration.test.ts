import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { CheckpointType } from "#contracts/vm/v1/vm";
import {
  checkpointEvents,
  startControlPlane,
  type TestControlPlane,
  vmName,
  whatOf,
} from "../testing/test-control-plane.ts";

let plane: TestControlPlane;
beforeEach(async () => {
  plane = await startControlPlane({ CHECKPOINT_LIMIT: "3" });
});
afterEach(async () => {
  await plane[Symbol.asyncDispose]();
});

const named = (displayName: string) => ({ name: `${vmName}/checkpoints/${displayName}` });

describe("display names", () => {
  const good = ["x", "n".repeat(99), "🙂".repeat(99), "vor dem Umzug: Größe / 1", "עברית", "a.b*c>d e"];
  const bad = [
    "n".repeat(100),
    "🙂".repeat(100),
    "a\nb",
    "\u0000",
    "tab\t",
    "esc\u001b[2J",
    "a\u2028b",
    "\u007f",
    "\u0085",
  ];

  test.each(good)("%j is taken, found and given back as it was", async (displayName) => {
    await plane.createVm(CheckpointType.STANDARD);
    const made = await plane.createReady(displayName);
    expect(made.displayName).toBe(displayName);
    const renamed = await plane.client.renameCheckpoint({ name: made.name, displayName: "other" });
    expect(renamed).toMatchObject({ uid: made.uid, displayName: "other" });
    await plane.client.renameCheckpoint({ ...named("other"), displayName });
    expect((await plane.client.getCheckpoint(named(displayName))).uid).toBe(made.uid);
  });

  test("what is too long, or could steer a terminal, is refused at creation and renaming", async () => {
    await plane.createVm(CheckpointType.STANDARD);
    const { name } = await plane.createReady("a");
    for (const displayName of bad) {
      const create = plane.client.createCheckpoint({ parent: vmName, displayName });
      await expect(create, displayName).rejects.toMatchObject({ reason: "NAME_INVALID" });
      const rename = plane.client.renameCheckpoint({ name, displayName });
      await expect(rename, displayName).rejects.toMatchObject({ reason: "NAME_INVALID" });
    }
    expect((await plane.list()).checkpoints.map(({ displayName }) => displayName)).toEqual(["a"]);
  });

  test("none is the VM's name and the time at creation, and refused at renaming", async () => {
    await plane.createVm(CheckpointType.STANDARD);
    await plane.create("");
    const [first] = (await plane.list()).checkpoints;
    expect(first?.displayName).toMatch(/^web-1-\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$/);
    const rename = plane.client.renameCheckpoint({ name: first?.name ?? "", displayName: "" });
    await expect(rename).rejects.toMatchObject({ reason: "NAME_INVALID" });
  });
});

describe("renaming", () => {
  test("is told, and a name that another has is refused", async () => {
    await plane.createVm(CheckpointType.STANDARD);
    const [a] = [await plane.createReady("a"), await plane.createReady("b")];
    await expect(plane.client.renameCheckpoint({ name: a.name, displayName: "b" })).rejects.toMatchObject({
      reason: "CHECKPOINT_NAME_TAKEN",
    });
    await plane.client.renameCheckpoint({ name: a.name, displayName: "a" });
    await plane.client.renameCheckpoint({ name: a.name, displayName: "c" });
    const events = await plane.events(checkpointEvents);
    expect(whatOf(events)).toEqual(["checkpoint.created", "checkpoint.created", "checkpoint.renamed"]);
    expect(events.at(-1)?.data).toMatchObject({ name: a.name, workload: vmName, from: "a", to: "c" });
  });

  test("waits for what takes a checkpoint at the same time: one name is never given twice", async () => {
    await plane.createVm(CheckpointType.STANDARD);
    const a = await plane.createReady("a");
    const ended = await plane.during(
      "standard",
      () => plane.client.createCheckpoint({ parent: vmName, displayName: "b" }),
      () =>
        expect(plane.client.renameCheckpoint({ name: a.name, displayName: "b" })).rejects.toMatchObject({
          reason: "TARGET_BUSY",
        }),
    );
    expect(ended.error).toBeUndefined();
    expect((await plane.list()).checkpoints.map(({ displayName }) => displayName)).toEqual(["a", "b"]);
  });
});

test("a protected checkpoint is not deleted until it is unprotected", async () => {
  await plane.createVm(CheckpointType.STANDARD);
  const { name } = await plane.createReady("a");
  const protect = (isProtected: boolean) => plane.client.protectCheckpoint({ name, protected: isProtected });
  expect(await protect(true)).toMatchObject({ protected: true });
  await protect(true);
  await expect(plane.client.deleteCheckpoint({ name })).rejects.toMatchObject({ reason: "CHECKPOINT_PROTECTED" });
  expect((await protect(false)).protected).toBe(false);
  expect((await plane.finish(await plane.client.deleteCheckpoint({ name }))).error).toBeUndefined();
  const happened = ["created", "protected", "unprotected", "deleted"].map((it) => `checkpoint.${it}`);
  expect(whatOf(await plane.events(checkpointEvents))).toEqual(happened);
});

test("no more checkpoints are taken than the limit allows", async () => {
  await plane.createVm(CheckpointType.STANDARD);
  for (const name of ["a", "b", "c"]) await plane.createReady(name);
  await expect(plane.client.createCheckpoint({ parent: vmName })).rejects.toMatchObject({
    reason: "CHECKPOINT_LIMIT",
    metadata: { reason: "limit.count", limit: "3" },
  });
});

describe("a project's checkpoint type", () => {
  const name = "projects/default";
  const set = (checkpointType: CheckpointType) => plane.projects.setProjectCheckpointType({ name, checkpointType });

  test("holds for VMs without one of their own, at once", async () => {
    await plane.createVm(CheckpointType.UNSPECIFIED);
    expect(await plane.projects.getProject({ name })).toMatchObject({ checkpointType: CheckpointType.PRODUCTION });
    expect(await plane.createReady("a")).toMatchObject({ requestedType: CheckpointType.PRODUCTION });
    await set(CheckpointType.STANDARD);
    expect(await plane.createReady("b")).toMatchObject({ requestedType: CheckpointType.STANDARD });
    await set(CheckpointType.DISABLED);
    await expect(plane.client.createCheckpoint({ parent: vmName })).rejects.toMatchObject({
      reason: "CHECKPOINT_DISABLED",
    });
    await set(CheckpointType.PRODUCTION_ONLY);
    const weaker = plane.client.createCheckpoint({ parent: vmName, type: CheckpointType.STANDARD });
    await expect(weaker).rejects.toMatchObject({ reason: "CHECKPOINT_TYPE_REFUSED" });
    expect(await plane.createReady("c")).toMatchObject({ requestedType: CheckpointType.PRODUCTION_ONLY });
  });

  test("does not hold for a VM that has its own", async () => {
    await plane.createVm(CheckpointType.STANDARD);
    await set(CheckpointType.DISABLED);
    expect(await plane.createReady("a")).toMatchObject({ requestedType: CheckpointType.STANDARD });
  });

  test("is listed and told, and a bad one is refused", async () => {
    await plane.createVm(CheckpointType.UNSPECIFIED);
    await set(CheckpointType.STANDARD);
    await set(CheckpointType.STANDARD);
    await plane.projects.setProjectCheckpointType({ name: "projects/other", checkpointType: CheckpointType.DISABLED });
    const { projects } = await plane.projects.listProjects({});
    expect(projects.map((project) => [project.name, project.checkpointType])).toEqual([
      [name, CheckpointType.STANDARD],
      ["projects/other", CheckpointType.DISABLED],
    ]);
    const events = await plane.events("rec.projects.*");
    expect(events.map(({ data }) => data)).toEqual([
      { from: CheckpointType.PRODUCTION, to: CheckpointType.STANDARD },
      { from: CheckpointType.PRODUCTION, to: CheckpointType.DISABLED },
    ]);
    await expect(set(CheckpointType.UNSPECIFIED)).rejects.toMatchObject({ reason: "ARGUMENT_INVALID" });
    await expect(plane.projects.getProject({ name: "projects/A" })).rejects.toMatchObject({ reason: "NAME_INVALID" });
  });
});
