import { once } from "node:events";
import { readdir } from "node:fs/promises";
import { type AddressInfo, createServer, type Server } from "node:net";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { agentReady, importImage } from "../demo/database-story.ts";
import { guestApplication } from "../demo/guest-application.ts";
import { buildGuest } from "../guest/build.ts";
import { type Product, startTestProduct } from "../harness/product.ts";
import { findQemus } from "../harness/qemu-process.ts";

interface DrilledJson {
  readonly provenTime?: string;
  readonly lastDrill?: {
    readonly passed: boolean;
    readonly reason: string;
    readonly exitCode?: number;
    readonly output?: string;
    readonly secondsToAgent?: number;
    readonly secondsToResult?: number;
  };
  readonly receipt: { readonly digest: string; readonly drills?: { readonly passed: boolean }[] };
}

/** Drills on a real guest: what is proven is that the checkpoint boots and its application answers, and nothing stays. */
describe("drills", () => {
  let product: Product;
  let outside: Server;
  let port: number;
  beforeAll(async () => {
    outside = createServer((socket) => socket.end("outside\n")).listen(0, "127.0.0.1");
    await once(outside, "listening");
    port = (outside.address() as AddressInfo).port;
    product = await startTestProduct();
    await importImage(product, await buildGuest(), "linux:1");
    const check = "cat /data/word";
    const options = ["--memory", "256MiB", "--drill-command", check, "--start"];
    await product.json("vm", "create", "web-1", "--image", "linux:1", ...options);
    await agentReady(product, "web-1");
    await shell("echo proof >/data/word; sync");
    await product.json("checkpoint", "create", "web-1", "--name", "good");
    await product.json("checkpoint", "create", "web-1", "--name", "instant", "--type", "standard");
    await shell("rm /data/word; sync");
    await product.json("checkpoint", "create", "web-1", "--name", "bad");
  });
  afterAll(async () => {
    outside.close();
    await product[Symbol.asyncDispose]();
  });

  const shell = (script: string) => guestApplication(product, "web-1").exec("sh", "-c", script);
  const checkpoint = async (name: string, vm = "web-1") =>
    (await product.json("checkpoint", "get", vm, name)) as DrilledJson;
  const events = async (happened: string) => {
    const { stdout } = await product.stillpoint("events", "-o", "json");
    return stdout.split("\n").filter((line) => line.includes(`evt.checkpoint.v1.${happened}.`)).length;
  };
  /** No clone in any list, no file, no process, no reservation but the VM's own. */
  const expectNothingLeft = async () => {
    const { vms } = (await product.json("vm", "list")) as { vms: { name: string; state: string }[] };
    const { hosts } = (await product.json("host", "list")) as { hosts: { reservations?: unknown[] }[] };
    expect(vms.map(({ name }) => name)).not.toContainEqual(expect.stringContaining("drill-"));
    expect(await readdir(join(product.folder, "data/host/workloads"))).toHaveLength(vms.length);
    expect(await findQemus(product.folder)).toHaveLength(
      vms.filter(({ state }) => state === "VM_STATE_RUNNING").length,
    );
    expect(hosts.flatMap(({ reservations = [] }) => reservations)).toHaveLength(vms.length);
  };

  test("a checkpoint that boots and passes its check is proven, with the time that it took", async () => {
    const before = await checkpoint("good");
    const { code, stdout, stderr } = await product.stillpoint("checkpoint", "drill", "web-1", "good");
    expect({ code, stderr }).toMatchObject({ code: 0 });
    expect(stdout).toMatch(
      /^Checkpoint "good" is proven: .* answered after [\d.]+ s, its check passed after [\d.]+ s\.$/m,
    );
    const { provenTime, lastDrill, receipt } = await checkpoint("good");
    expect(lastDrill).toMatchObject({ passed: true, exitCode: 0, output: "proof\n" });
    expect(lastDrill?.secondsToResult).toBeGreaterThanOrEqual(lastDrill?.secondsToAgent ?? Number.NaN);
    expect(Date.parse(provenTime ?? "")).toBeGreaterThan(Date.now() - 60_000);
    expect(receipt.drills).toMatchObject([{ passed: true }]);
    expect(receipt.digest).not.toBe(before.receipt.digest);
    expect(await events("proven")).toBe(1);
    await expectNothingLeft();
  });

  test("a clone of a standard checkpoint goes on at its instant, and reaches nothing outside itself", async () => {
    const reach = `timeout 3 nc 10.0.2.2 ${port} </dev/null`;
    expect(await shell(reach)).toBe("outside");
    const { code } = await product.stillpoint(
      "checkpoint",
      "drill",
      "web-1",
      "instant",
      "--",
      "sh",
      "-c",
      `! ${reach}`,
    );
    expect(code).toBe(0);
    expect((await checkpoint("instant")).lastDrill).toMatchObject({ passed: true, exitCode: 0 });
    await expectNothingLeft();
  });

  test("a check that fails is told with its output, and proves nothing", async () => {
    const { code, stderr } = await product.stillpoint("checkpoint", "drill", "web-1", "bad");
    expect({ code, stderr }).toEqual({ code: 1, stderr: expect.stringContaining("DRILL_FAILED") as string });
    expect(stderr).toContain("the check command ended with 1: cat:");
    const { provenTime, lastDrill, receipt } = await checkpoint("bad");
    expect(provenTime).toBeUndefined();
    expect(lastDrill).toMatchObject({ passed: false, reason: "command.failed", exitCode: 1 });
    expect(receipt.drills).toMatchObject([{ passed: false }]);
    expect(await events("drill_failed")).toBe(1);
    await expectNothingLeft();
  });

  test("a check that does not end is given up, and a drill that passed before stays proven", async () => {
    const proven = (await checkpoint("instant")).provenTime;
    const late = ["--timeout", "3", "--", "sleep", "600"];
    const { stderr } = await product.stillpoint("checkpoint", "drill", "web-1", "instant", ...late);
    expect(stderr).toContain("DRILL_FAILED");
    const { provenTime, lastDrill } = await checkpoint("instant");
    expect(lastDrill).toMatchObject({ passed: false, reason: "command.timed_out" });
    expect(provenTime).toBe(proven);
    await expectNothingLeft();
  });

  test("a guest that never gets an agent fails the drill in time", async () => {
    const silent = ["--memory", "256MiB", "--kernel-args", "stillpoint.agent=off"];
    await product.json("vm", "create", "silent", "--image", "linux:1", ...silent);
    await product.json("checkpoint", "create", "silent", "--name", "off");
    const { code, stderr } = await product.stillpoint("checkpoint", "drill", "silent", "off", "--timeout", "7");
    expect(code).toBe(1);
    expect(stderr).toContain("the guest's agent did not answer within 7 s");
    expect((await checkpoint("off", "silent")).lastDrill).toMatchObject({ passed: false, reason: "agent.absent" });
    await expectNothingLeft();
  });

  test("a drill that is cancelled removes its clone and says nothing of the checkpoint", async () => {
    const before = await checkpoint("good");
    const sleep = ["--async", "-o", "json", "--", "sleep", "600"];
    const { stdout } = await product.stillpoint("checkpoint", "drill", "web-1", "good", ...sleep);
    const { name } = JSON.parse(stdout) as { name: string };
    const id = name.slice("operations/".length);
    await product.stillpoint("operation", "cancel", id);
    expect((await product.stillpoint("operation", "wait", id)).code).not.toBe(0);
    expect((await checkpoint("good")).lastDrill).toEqual(before.lastDrill);
    await expectNothingLeft();
  });
});
