import { expect, test } from "vitest";
import { fakeCluster } from "../testing/fake-cluster.ts";
import { succeeded } from "../testing/operations.ts";

test("checkpoint create tells what was reached", async () => {
  const name = "projects/default/vms/a/checkpoints/ckpt-1";
  const summary = "asked for production, got standard, because agent.absent: no answer";
  await using cluster = await fakeCluster({
    checkpoints: {
      createCheckpoint: async () => ({ ...succeeded, output: { name } }),
      getCheckpoint: async () => ({
        name,
        displayName: "before",
        kind: "CHECKPOINT_KIND_STANDARD",
        consistency: "CONSISTENCY_SAVED_STATE",
        requestedType: "CHECKPOINT_TYPE_PRODUCTION",
        fellBack: true,
        reason: "agent.absent",
        receipt: { summary },
      }),
    },
  });
  expect(await cluster.run(["checkpoint", "create", "a"])).toMatchObject({
    code: 0,
    out: `Standard checkpoint "before" is taken, saved-state consistent: ${summary}.\n`,
  });
});

test("a checkpoint that is weaker than it looks says why, also where the policy allows it", async () => {
  const crashed = {
    kind: "CHECKPOINT_KIND_PRODUCTION",
    consistency: "CONSISTENCY_CRASH",
    reason: "vm.crashed",
    receipt: { summary: "asked for production, got production that is only crash consistent, because vm.crashed" },
  } as const;
  await using cluster = await fakeCluster({
    checkpoints: {
      createCheckpoint: async () => ({ ...succeeded, output: { name: "projects/default/vms/a/checkpoints/ckpt-1" } }),
      getCheckpoint: async () => ({ displayName: "c", ...crashed }),
      listCheckpoints: async () => ({ checkpoints: [{ displayName: "c", ...crashed }] }),
    },
  });
  const { out } = await cluster.run(["checkpoint", "create", "a"]);
  expect(out).toBe(`Production checkpoint "c" is taken, crash consistent: ${crashed.receipt.summary}.\n`);
  expect((await cluster.run(["checkpoint", "list", "a"])).out).toMatch(/^c +production +crash +vm\.crashed /m);
  expect((await cluster.run(["checkpoint", "get", "a", "c"])).out).toMatch(/^Fell back: +no\nReason: +vm\.crashed$/m);
});

test("rename, protect and unprotect name the checkpoint by its display name", async () => {
  const asked: unknown[] = [];
  await using cluster = await fakeCluster({
    checkpoints: {
      async renameCheckpoint(request) {
        asked.push(request);
        return { displayName: request.displayName };
      },
      async protectCheckpoint(request) {
        asked.push(request);
        return { displayName: "old / 1", protected: request.protected };
      },
    },
  });
  const { out } = await cluster.run(["checkpoint", "rename", "a", "old / 1", "new"]);
  expect(out).toMatch(/^Name: +new$/m);
  expect((await cluster.run(["checkpoint", "protect", "a", "old / 1"])).out).toMatch(/^Protected: +yes$/m);
  await cluster.run(["checkpoint", "unprotect", "a", "old / 1"]);
  const name = "projects/default/vms/a/checkpoints/old / 1";
  expect(asked).toEqual([
    { name, displayName: "new" },
    { name, protected: true },
    { name, protected: false },
  ]);
});

test("project set changes what holds by default, and list shows it", async () => {
  const project = { name: "projects/default", checkpointType: "CHECKPOINT_TYPE_STANDARD" } as const;
  await using cluster = await fakeCluster({
    projects: {
      setProjectCheckpointType: async (request) => request,
      listProjects: async () => ({ projects: [project] }),
    },
  });
  const { out } = await cluster.run(["project", "set", "default", "--checkpoint-type", "production-only"]);
  expect(out).toMatch(/^Checkpoints: +production-only$/m);
  expect((await cluster.run(["project", "list"])).out).toBe("NAME     CHECKPOINTS\ndefault  standard\n");
});

test("delete tells what is merged in the background, and waits for the end of that where it is asked to", async () => {
  const debts = [3 * 2 ** 20, 3 * 2 ** 20, 2 ** 20, 0];
  const asked: unknown[] = [];
  await using cluster = await fakeCluster({
    checkpoints: {
      async deleteCheckpoint({ requestId: _requestId, ...request }) {
        asked.push(request);
        return { ...succeeded, output: { deleted: ["c1", "c2", "c3"] } };
      },
      listCheckpoints: async () => ({ storage: { mergeDebtBytes: debts.shift() ?? 0 } }),
    },
  });
  const first = await cluster.run(["checkpoint", "delete", "a", "x", "--subtree"]);
  expect(first.out).toBe("Checkpoint x of a and 2 that stood on it are deleted. To merge in the background: 3 MiB.\n");
  const second = await cluster.run(["checkpoint", "delete", "a", "x", "--subtree", "--wait"]);
  expect(second.out).toBe("Checkpoint x of a and 2 that stood on it are deleted. Nothing is left to merge.\n");
  expect(second.err).toContain("merging disks");
  expect(asked).toEqual(Array(2).fill({ name: "projects/default/vms/a/checkpoints/x", subtree: true }));
});

test("waiting for a merge ends when it has to wait for something itself, and says for what", async () => {
  const storage = { mergeDebtBytes: 5, mergeWaitsFor: "clone.linked" };
  await using cluster = await fakeCluster({
    checkpoints: { deleteCheckpoint: async () => succeeded, listCheckpoints: async () => ({ storage }) },
  });
  const { out } = await cluster.run(["checkpoint", "delete", "a", "x", "--wait"]);
  expect(out).toBe("Checkpoint x of a is deleted. To merge in the background: 5 B, waits for clone.linked.\n");
});

test("apply with a checkpoint first asks before, and tells what was reached of it", async () => {
  const asked: unknown[] = [];
  await using cluster = await fakeCluster({
    checkpoints: {
      async applyCheckpoint({ requestId: _requestId, ...request }) {
        asked.push(request);
        return { ...succeeded, output: { first: "projects/default/vms/a/checkpoints/ckpt-9" } };
      },
      getCheckpoint: async () => ({
        displayName: "before",
        kind: "CHECKPOINT_KIND_STANDARD",
        consistency: "CONSISTENCY_SAVED_STATE",
      }),
    },
  });
  const apply = ["checkpoint", "apply", "a", "x", "--checkpoint-first"];
  const { code, err } = await cluster.run(apply);
  expect({ code, err }).toMatchObject({ code: 2, err: expect.stringContaining("--yes") });
  expect(asked).toEqual([]);
  const { out } = await cluster.run([...apply, "before", "--yes"]);
  expect(out).toBe('Standard checkpoint "before" is taken, saved-state consistent.\nCheckpoint x is applied to a.\n');
  await cluster.run([...apply, "-y"]);
  const name = "projects/default/vms/a/checkpoints/x";
  expect(asked).toEqual([
    { name, checkpointFirst: true, firstDisplayName: "before" },
    { name, checkpointFirst: true, firstDisplayName: "" },
  ]);
});

test("create leaves out the disks it is told to, and says so", async () => {
  let asked: readonly string[] = [];
  await using cluster = await fakeCluster({
    checkpoints: {
      async createCheckpoint({ excludeDisks }) {
        asked = excludeDisks;
        return { ...succeeded, output: { name: "projects/default/vms/a/checkpoints/ckpt-1" } };
      },
      getCheckpoint: async () => ({
        displayName: "c",
        kind: "CHECKPOINT_KIND_PRODUCTION",
        consistency: "CONSISTENCY_APPLICATION",
        excludedDisks: ["disk1", "disk2"],
      }),
    },
  });
  const { out } = await cluster.run(["checkpoint", "create", "a", "--exclude", "disk1", "--exclude", "disk2"]);
  expect(asked).toEqual(["disk1", "disk2"]);
  expect(out).toBe('Production checkpoint "c" is taken, application consistent. Left out: disk1, disk2.\n');
});
