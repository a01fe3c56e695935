import { expect, test } from "vitest";
import { StillpointError } from "#libs/errors";
import { fakeCluster } from "./testing/fake-cluster.ts";
import { accepted, running, succeeded } from "./testing/operations.ts";

test("--async prints the operation and how to wait for it", async () => {
  await using cluster = await fakeCluster({ vms: { startVm: async () => accepted } });
  expect(await cluster.run(["vm", "start", "web-1", "--async"])).toEqual({
    code: 0,
    out: "Accepted as operations/abc.\nWait for it with: stillpoint operation wait abc\n",
    err: "",
  });
});

test("an operation that fails says why and what to do, and exits 1", async () => {
  const error = {
    code: 8,
    reason: "NO_HOST_FITS",
    message: "no host fits web-1: n1 lacks memory",
    help: "Ask for less.",
  };
  await using cluster = await fakeCluster({
    vms: { createVm: async () => ({ ...accepted, state: "OPERATION_STATE_FAILED", done: true, error }) },
  });
  expect(await cluster.run(["vm", "create", "web-1", "--image", "x"])).toEqual({
    code: 1,
    out: "",
    err: "Error NO_HOST_FITS: no host fits web-1: n1 lacks memory\nAsk for less.\n",
  });
});

test("waiting goes on over a server that breaks off", async () => {
  let watches = 0;
  await using cluster = await fakeCluster({
    operations: {
      getOperation: async () => running("place"),
      async *watchOperation() {
        watches++;
        if (watches === 1) throw new StillpointError("UNAVAILABLE", "the service is stopping");
        yield watches === 2 ? running("boot") : succeeded;
      },
    },
  });
  const { code, err } = await cluster.run(["operation", "wait", "abc"]);
  expect({ code, err, watches }).toEqual({ code: 0, err: "vm.create  boot\n", watches: 3 });
});

test("steps are told in words, and bookkeeping is not told", async () => {
  await using cluster = await fakeCluster({
    vms: { startVm: async () => accepted },
    operations: {
      async *watchOperation() {
        yield accepted;
        for (const step of ["place", "unheard-of", "undo make", "undo place", "conclude"]) yield running(step);
        yield succeeded;
      },
    },
  });
  const { err } = await cluster.run(["vm", "start", "a"]);
  expect(err).toBe(
    ["choosing a host", "unheard-of", "taking back what was done"].map((step) => `vm.create  ${step}\n`).join(""),
  );
});

test("Ctrl-C while waiting says that the operation goes on", async () => {
  const interrupt = new AbortController();
  await using cluster = await fakeCluster({
    vms: { startVm: async () => accepted },
    operations: {
      async *watchOperation(_request, { signal }) {
        yield running("boot");
        interrupt.abort();
        await new Promise((resolve) => signal.addEventListener("abort", resolve));
      },
    },
  });
  const { code, err } = await cluster.run(["vm", "start", "a"], { signal: interrupt.signal });
  expect(code).toBe(130);
  expect(err).toContain("stillpoint operation wait abc");
});

test("a person sees one line redrawn, which is gone at the end", async () => {
  await using cluster = await fakeCluster({
    vms: { startVm: async () => accepted },
    operations: {
      async *watchOperation() {
        yield running("boot");
        yield succeeded;
      },
    },
  });
  const { err } = await cluster.run(["vm", "start", "a"], { isInteractive: true, columns: 80 });
  const shown = err.replaceAll("\r\u001b[2K", "<clear>").replace(/\d+\.\d s/, "<time>");
  expect(shown).toBe("<clear>vm.create  boot  40 %  <time><clear>");
});
