import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { eventually } from "#libs/testing";
import { agentReady, importImage, readCheckpoint } from "../demo/database-story.ts";
import { guestApplication } from "../demo/guest-application.ts";
import { buildGuest } from "../guest/build.ts";
import { type Product, startTestProduct } from "../harness/product.ts";

interface Readiness {
  readonly outcome: string;
  readonly consistency: string;
  readonly policy: string;
  readonly findings?: readonly { readonly code: string; readonly severity: string; readonly help: string }[];
}

/** What a checkpoint would give is told before it is needed, and is what the checkpoint then gives. */
describe("readiness", () => {
  let product: Product;
  beforeAll(async () => {
    product = await startTestProduct();
    await importImage(product, await buildGuest(), "linux:1");
    await product.json("vm", "create", "web-1", "--image", "linux:1", "--memory", "256MiB");
  });
  afterAll(async () => {
    await product[Symbol.asyncDispose]();
  });

  /** As scripts do: the exit code, and the message. */
  const check = async (): Promise<Readiness & { readonly code: number }> => {
    const { code, stdout, stderr } = await product.stillpoint("checkpoint", "check", "web-1", "-o", "json");
    if (stdout === "") throw new Error(`checkpoint check ended with ${code}: ${stderr}`);
    return { ...(JSON.parse(stdout) as Readiness), code };
  };
  const field = async () => {
    const { checkpointReadiness } = (await product.json("vm", "get", "web-1")) as { checkpointReadiness?: Readiness };
    return checkpointReadiness;
  };
  const codes = ({ findings = [] }: Readiness) => findings.map(({ code }) => code);
  /** Takes a checkpoint and says what was reached, in readiness's words. */
  const taken = async (name: string) => {
    await product.json("checkpoint", "create", "web-1", "--name", name);
    const checkpoint = await readCheckpoint(product, "web-1", name);
    return {
      kind: checkpoint.kind.replace("CHECKPOINT_KIND_", "").toLowerCase(),
      consistency: checkpoint.consistency.replace("CONSISTENCY_", "").toLowerCase().replace("_", "-"),
      reason: checkpoint.reason,
    };
  };

  test("before it is booted: an offline checkpoint, which meets the policy", async () => {
    const readiness = await check();
    expect(readiness).toMatchObject({ code: 0, outcome: "offline", policy: "CHECKPOINT_TYPE_PRODUCTION" });
    expect(await taken("off")).toMatchObject({ consistency: readiness.consistency });
  });

  test("when its agent answers: a production checkpoint, as strong as foretold", async () => {
    await product.json("vm", "start", "web-1");
    await agentReady(product, "web-1");
    const readiness = await check();
    expect(readiness).toMatchObject({ code: 0, outcome: "production", freezeEnabled: true, hooksEnabled: true });
    await eventually(async () => (await field())?.outcome === "production", { deadlineMs: 10_000 });
    const { kind, consistency } = await taken("ready");
    expect(kind).toBe("production");
    // Without an inventory the writers are not known beforehand, and less is foretold than is reached.
    if (!codes(readiness).includes("writers.unknown")) expect(consistency).toBe(readiness.consistency);
    const { stdout } = await product.stillpoint("vm", "get", "web-1");
    expect(stdout).toMatch(/^Readiness: +production \(/m);
  });

  test("its agent is killed: event and field change, and the checkpoint falls back for the reason foretold", async () => {
    // What would start it again is told to sleep instead.
    const script =
      "printf '#!/bin/sh\\nexec sleep 100000\\n' >/usr/local/sbin/guest-agent; sleep 1; kill $(pidof qemu-ga)";
    const { exec } = guestApplication(product, "web-1");
    await exec("sh", "-c", `{ ${script}; } >/dev/null 2>&1 </dev/null &`);
    const after = await eventually(
      async () => {
        const seen = await field();
        return seen?.outcome === "standard" && seen;
      },
      { deadlineMs: 20_000 },
    );
    expect(after.findings).toContainEqual(
      expect.objectContaining({
        code: "agent.absent",
        severity: "SEVERITY_ERROR",
        help: expect.stringContaining("Install") as string,
      }),
    );
    const events = (await product.stillpoint("events", "-o", "json")).stdout.trim().split("\n");
    const told = events.filter((line) => line.includes("readiness_changed") && line.includes("agent.absent"));
    expect(told.at(-1)).toContain("standard");

    const readiness = await check();
    expect(readiness).toMatchObject({ code: 1, outcome: "standard" });
    const { kind, consistency, reason } = await taken("fallen-back");
    expect({ kind, consistency }).toEqual({ kind: readiness.outcome, consistency: readiness.consistency });
    expect(codes(readiness)).toContain(reason);
  });

  test("the policy decides: its project's where it has none of its own, then its own", async () => {
    await product.json("vm", "set", "web-1", "--checkpoint-type", "production-only");
    expect(await check()).toMatchObject({ code: 1, outcome: "refused", consistency: "none" });
    const { code, stderr } = await product.stillpoint("checkpoint", "create", "web-1", "--name", "never");
    expect({ code, stderr }).toEqual({ code: 1, stderr: expect.stringContaining("agent.absent") as string });

    await product.json("vm", "set", "web-1", "--checkpoint-type", "default");
    await product.json("project", "set", "default", "--checkpoint-type", "standard");
    expect(await check()).toMatchObject({ code: 0, outcome: "standard", policy: "CHECKPOINT_TYPE_STANDARD" });
    await eventually(async () => (await field())?.policy === "CHECKPOINT_TYPE_STANDARD", { deadlineMs: 10_000 });

    await product.json("vm", "set", "web-1", "--checkpoint-type", "disabled");
    const disabled = await check();
    expect(disabled).toMatchObject({ code: 0, outcome: "refused" });
    expect(codes(disabled)).toContain("policy.disabled");
  });
});
