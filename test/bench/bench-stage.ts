import { closeRpcClients } from "#libs/rpc";
import { agentReady, importImage } from "../demo/database-story.ts";
import { buildGuest, type GuestVariant } from "../guest/build.ts";
import { type Product, startProduct } from "../harness/product.ts";
import { findQemus, type QemuProcess } from "../harness/qemu-process.ts";
import { type CheckpointApi, connectCheckpoints } from "./checkpoint-client.ts";

/** A product with VMs that are measured, and their twins that a benchmark runs by hand. */
export interface BenchStage extends AsyncDisposable {
  readonly product: Product;
  readonly api: CheckpointApi;
  /** Makes a VM and starts it; resolves when its guest agent answers. `options` are those of `vm create`. */
  readonly boot: (vm: string, ...options: string[]) => Promise<void>;
  /** Makes an equal VM, keeps its QEMU's command line, and pulls its plug: it can be run by hand. */
  readonly twin: (vm: string, ...options: string[]) => Promise<QemuProcess>;
  /** Runs a shell line in a guest; gives what it printed. */
  readonly shell: (vm: string, line: string) => Promise<string>;
}

export async function openBenchStage(variants: readonly GuestVariant[] = ["default"]): Promise<BenchStage> {
  const product = await startProduct();
  for (const variant of variants) await importImage(product, await buildGuest(variant), `linux:${variant}`);
  const create = async (vm: string, options: string[]) => {
    const image = options.includes("--image") ? [] : ["--image", "linux:default"];
    const memory = options.includes("--memory") ? [] : ["--memory", "256MiB"];
    await product.json("vm", "create", vm, ...image, ...memory, ...options, "--start");
  };
  return {
    product,
    api: connectCheckpoints(product.address),
    async boot(vm, ...options) {
      await create(vm, options);
      await agentReady(product, vm);
    },
    async twin(vm, ...options) {
      const before = new Set((await findQemus(product.folder)).map(({ pid }) => pid));
      await create(vm, options);
      if (options.includes("--disk")) await agentReady(product, vm); // the guest formats an empty disk as it boots
      const qemu = (await findQemus(product.folder)).find(({ pid }) => !before.has(pid));
      if (qemu === undefined) throw new Error(`the QEMU of ${vm} is not there`);
      await product.stillpoint("vm", "exec", vm, "--", "sync");
      await product.json("vm", "stop", vm, "--force");
      return qemu;
    },
    async shell(vm, line) {
      const { code, stdout, stderr } = await product.stillpoint("vm", "exec", vm, "--", "sh", "-c", line);
      if (code !== 0) throw new Error(`${line}: ${stderr.trim()}`);
      return stdout.trim();
    },
    async [Symbol.asyncDispose]() {
      await closeRpcClients();
      await product[Symbol.asyncDispose]();
    },
  };
}
