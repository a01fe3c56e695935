import { expect, test } from "vitest";
import { fakeCluster } from "../testing/fake-cluster.ts";
import { succeeded } from "../testing/operations.ts";

test("checkpoint create tells what was reached", async () => {
  const name = "projects/default/vms/a/checkpoints/ckpt-1";
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
      }),
    },
  });
  expect(await cluster.run(["checkpoint", "create", "a"])).toMatchObject({
    code: 0,
    out: 'Standard checkpoint "before" is taken: saved-state consistent, not production: agent.absent.\n',
  });
});

test("a checkpoint that is weaker than it looks says why, also where the policy allows it", async () => {
  const crashed = {
    kind: "CHECKPOINT_KIND_PRODUCTION",
    consistency: "CONSISTENCY_CRASH",
    reason: "vm.crashed",
  } as const;
  await using cluster = await fakeCluster({
    checkpoints: {
      createCheckpoint: async () => ({ ...succeeded, output: { name: "projects/default/vms/a/checkpoints/ckpt-1" } }),
      getCheckpoint: async () => ({ displayName: "c", ...crashed }),
      listCheckpoints: async () => ({ checkpoints: [{ displayName: "c", ...crashed }] }),
    },
  });
  const { out } = await cluster.run(["checkpoint", "create", "a"]);
  expect(out).toBe('Production checkpoint "c" is taken: crash consistent: vm.crashed.\n');
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
