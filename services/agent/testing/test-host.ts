import { createHash, randomUUID } from "node:crypto";
import { copyFile, mkdir, stat, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { HostAgentDefinition, type StepResult, VmDefinition } from "#contracts/host/v1/agent";
import { systemRandom } from "#libs/clock";
import { StillpointError } from "#libs/errors";
import { createRpcClient } from "#libs/rpc";
import type { StepAction } from "../steps/step-runner.ts";

/** A guest's files, as the test guest's build gives them. */
export interface GuestFiles {
  readonly disk: string;
  readonly kernel: string;
  readonly initrd: string;
  readonly cmdline: string;
}

/** Puts a guest into an agent's image cache, as if it had been pulled, and gives its reference. */
export async function cacheImage(data: string, guest: GuestFiles): Promise<string> {
  const hex = createHash("sha256").update(JSON.stringify(guest)).digest("hex");
  const folder = join(data, "images", `sha256-${hex}`);
  await mkdir(folder, { recursive: true, mode: 0o711 });
  for (const [name, path] of Object.entries({ "disk.raw": guest.disk, kernel: guest.kernel, initrd: guest.initrd })) {
    await copyFile(path, join(folder, name));
  }
  const { size } = await stat(guest.disk);
  const description = { virtualSizeBytes: size, hasKernel: true, hasInitrd: true, cmdline: guest.cmdline };
  await writeFile(join(folder, "image.json"), JSON.stringify(description));
  return `guest@sha256:${hex}`;
}

export function vmDefinition(image: string, change: Partial<VmDefinition> = {}): VmDefinition {
  return VmDefinition.fromPartial({
    name: "projects/default/vms/test",
    uid: systemRandom.id("vm"),
    cpus: 1,
    memoryBytes: 256 * 2 ** 20,
    image,
    disks: [{ id: "root" }],
    ...change,
  });
}

export type TestHost = ReturnType<typeof testHost>;

/** Drives an agent as a runner does: a fence and a step for each action. */
export function testHost(address: string) {
  const client = createRpcClient(HostAgentDefinition, address, { timeoutMs: 60_000 });
  let epoch = Date.now();
  const runStep = async (request: { uid: string; operation: string; epoch: number }, action: StepAction) => {
    let result: StepResult | undefined;
    for await (const { update } of client.runStep({ ...request, step: action.$case, action })) {
      if (update?.$case === "result") result = update.value;
    }
    if (result === undefined) throw new StillpointError("INTERNAL", "the step ended without a result");
    return result;
  };
  return {
    client,
    runStep,
    /** A new operation of one step. */
    async act(uid: string, action: StepAction): Promise<StepResult> {
      const request = { uid, operation: `operations/${randomUUID()}`, epoch: ++epoch };
      await client.fence(request);
      return await runStep(request, action);
    },
    async exec(uid: string, ...command: string[]): Promise<string> {
      let text = "";
      for await (const { stdout, stderr } of client.exec({ uid, command })) text += Buffer.concat([stdout, stderr]);
      return text;
    },
    nextEpoch: () => ++epoch,
  };
}
