import { execFile } from "node:child_process";
import { copyFile, mkdir, readdir, readFile, writeFile } from "node:fs/promises";
import { basename, join } from "node:path";
import { promisify } from "node:util";
import { zstdDecompressSync } from "node:zlib";

const run = promisify(execFile);

/** The drivers of the guest, by module name; those built into the kernel are left out, their dependencies come first. */
const drivers = ["virtio_pci", "virtio_blk", "virtio_console", "button", "evdev", "virtio_net"];

/** The kernel of an unpacked package tree: its image and its folder of modules. */
export async function findKernel(tree: string): Promise<{ image: string; modules: string }> {
  const [version] = await readdir(join(tree, "usr/lib/modules"));
  if (version === undefined) throw new Error("the kernel package holds no modules");
  return { image: join(tree, "boot", `vmlinuz-${version}`), modules: join(tree, "usr/lib/modules", version) };
}

/**
 * The kernel of a bzImage, unpacked: to unpack it takes a quarter of the processor time that an emulated guest boots in.
 * QEMU starts it by its PVH note. Where the parts are: https://docs.kernel.org/arch/x86/boot.html, `payload_offset`.
 */
export async function unpackKernel(path: string): Promise<Buffer> {
  const image = await readFile(path);
  if (image.toString("latin1", 0x202, 0x206) !== "HdrS") throw new Error(`${path} is no bzImage`);
  const begin = (image.readUInt8(0x1f1) + 1) * 512 + image.readUInt32LE(0x248);
  const payload = image.subarray(begin, begin + image.readUInt32LE(0x24c));
  const unpack = unpackers[payload.toString("hex", 0, 4)];
  if (unpack === undefined) throw new Error(`${path} is packed in a way that is not known here`);
  const kernel = await unpack(payload.subarray(0, -4)); // its length follows
  if (kernel.toString("latin1", 1, 4) !== "ELF") throw new Error(`${path} holds no ELF file`);
  return kernel;
}

/** By the first four bytes of what they unpack. */
const unpackers: Record<string, (packed: Buffer) => Buffer | Promise<Buffer>> = {
  "02214c18": (packed) => unpackBy("lz4", packed), // lz4's legacy format, which Node does not know
  fd377a58: (packed) => unpackBy("xz", packed),
  "28b52ffd": (packed) => zstdDecompressSync(packed),
};

async function unpackBy(program: "lz4" | "xz", packed: Buffer): Promise<Buffer> {
  const unpacked = run(program, ["--decompress", "--stdout"], { encoding: "buffer", maxBuffer: 2 ** 28 });
  unpacked.child.stdin?.end(packed);
  return (await unpacked).stdout;
}

/** Writes a gzip-less initramfs of busybox, the drivers and `init` (compression would cost more than it saves). */
export async function buildInitrd(options: {
  init: string;
  busybox: string;
  modules: string;
  work: string;
  output: string;
}): Promise<void> {
  const root = join(options.work, "initrd");
  for (const folder of ["bin", "dev", "root", "modules"]) await mkdir(join(root, folder), { recursive: true });
  await copyFile(options.busybox, join(root, "bin/busybox"));
  await copyFile(options.init, join(root, "init"));
  const order: string[] = [];
  for (const { file, content } of await orderedModules(options.modules)) {
    await writeFile(join(root, "modules", file), content);
    order.push(`${file}\n`);
  }
  await writeFile(join(root, "modules/order"), order.join(""));
  await archive(root, options.output);
}

async function archive(root: string, output: string): Promise<void> {
  const names = (await readdir(root, { recursive: true })).sort();
  const cpio = run("cpio", ["--create", "--format=newc", "--reproducible", "--owner=0:0", "--quiet", "-O", output], {
    cwd: root,
  });
  cpio.child.stdin?.end(names.join("\n"));
  await cpio;
}

interface Module {
  /** File name without the suffix of a compression. */
  file: string;
  content: Buffer;
}

/**
 * The drivers and what they need, each after its dependencies: virtio_ring before virtio before virtio_pci. The order
 * comes from the modules themselves, because a package has no modules.dep before it is installed.
 */
async function orderedModules(folder: string): Promise<Module[]> {
  const files = new Map<string, string>();
  for (const path of await readdir(folder, { recursive: true })) {
    const name = /([^/]+)\.ko(\.xz|\.zst)?$/.exec(path)?.[1];
    if (name !== undefined) files.set(name.replaceAll("-", "_"), join(folder, path));
  }
  const ordered = new Map<string, Module>();
  const visit = async (name: string): Promise<void> => {
    const path = files.get(name);
    if (path === undefined || ordered.has(name)) return;
    const content = await readModule(path);
    for (const dependency of dependenciesOf(content)) await visit(dependency);
    ordered.set(name, { file: basename(path).replace(/\.(xz|zst)$/, ""), content });
  };
  for (const driver of drivers) await visit(driver);
  return [...ordered.values()];
}

function dependenciesOf(module: Buffer): string[] {
  const list = /\0depends=([^\0]*)\0/.exec(module.toString("latin1"))?.[1] ?? "";
  return list.split(",").map((name) => name.replaceAll("-", "_"));
}

async function readModule(path: string): Promise<Buffer> {
  if (path.endsWith(".zst")) return zstdDecompressSync(await readFile(path));
  if (!path.endsWith(".xz")) return readFile(path);
  return await unpackBy("xz", await readFile(path));
}
