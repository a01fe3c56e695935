import { describe, expect, test } from "vitest";
import { fakeCluster } from "../testing/fake-cluster.ts";
import { succeeded } from "../testing/operations.ts";

const name = "projects/default/vms/b/checkpoints/ckpt-1";
const received = {
  name,
  displayName: "before",
  kind: "CHECKPOINT_KIND_PRODUCTION",
  consistency: "CONSISTENCY_APPLICATION",
} as const;

describe("checkpoint clone", () => {
  test("asks for the VM, and says how consistent it is", async () => {
    let asked: unknown;
    await using cluster = await fakeCluster({
      checkpoints: {
        cloneCheckpoint: async (request) => {
          asked = request;
          return { ...succeeded, output: { checkpoint: name } };
        },
        getCheckpoint: async () => received,
      },
    });
    const { out } = await cluster.run(["checkpoint", "clone", "a", "before", "b", "--full", "--port", "8080:80"]);
    expect(out).toBe('VM b is made from production checkpoint "before" of a: application consistent. It is off.\n');
    expect(asked).toMatchObject({
      name: "projects/default/vms/a/checkpoints/before",
      vmId: "b",
      fullCopy: true,
      start: false,
      ports: [{ hostPort: 8080, guestPort: 80 }],
    });
  });
});

describe("checkpoint pull", () => {
  test("goes into a new VM, or into one that exists, and never into both", async () => {
    const asked: unknown[] = [];
    await using cluster = await fakeCluster({
      checkpoints: {
        pullCheckpoint: async (request) => {
          asked.push(request);
          return { ...succeeded, output: { checkpoint: name } };
        },
        getCheckpoint: async () => received,
      },
    });
    const pull = (...args: string[]) => cluster.run(["checkpoint", "pull", "checkpoints/a:before", ...args]);
    expect((await pull("--vm", "b", "--start")).out).toBe(
      'VM b is made from production checkpoint "before" of checkpoints/a:before: application consistent. It starts.\n',
    );
    expect((await pull("--into", "vm/c", "--name", "old")).out).toBe(
      'Production checkpoint "before" of checkpoints/a:before is in the tree of c: application consistent.\n',
    );
    expect(asked).toMatchObject([
      { parent: "projects/default", vmId: "b", start: true },
      { workload: "projects/default/vms/c", displayName: "old" },
    ]);
    await pull("--container", "d", "--port", "8080:80");
    await pull("--into", "container/e");
    expect(asked.slice(2)).toMatchObject([
      { parent: "projects/default", vmId: "", containerId: "d", ports: [{ hostPort: 8080, guestPort: 80 }] },
      { workload: "projects/default/containers/e" },
    ]);
    for (const wrong of [[], ["--vm", "b", "--into", "c"]]) {
      expect(await pull(...wrong)).toMatchObject({
        code: 2,
        err: expect.stringContaining("--vm NEW, --container NEW and --into WORKLOAD"),
      });
    }
  });
});

test("checkpoint drill tells how long it took; its command comes after --", async () => {
  let asked: unknown;
  await using cluster = await fakeCluster({
    checkpoints: {
      drillCheckpoint: async (request) => {
        asked = request;
        return succeeded;
      },
      getCheckpoint: async () => ({
        ...received,
        lastDrill: { secondsToAgent: 6.2, secondsToResult: 7, command: ["true"] },
      }),
    },
  });
  const { out } = await cluster.run(["checkpoint", "drill", "a", "before", "--timeout", "30", "--", "true", "--x"]);
  expect(out).toBe(
    'Checkpoint "before" is proven: the guest\'s agent answered after 6.2 s, its check passed after 7 s.\n',
  );
  expect(asked).toMatchObject({ command: ["true", "--x"], timeout: { seconds: 30 } });
});
