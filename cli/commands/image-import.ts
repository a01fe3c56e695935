import { resolve } from "node:path";
import { type Command, Option } from "commander";
import type { ImageFormat } from "#libs/disk-image";
import type { CommonOptions } from "../api.ts";
import { leafCommand } from "../leaf-command.ts";
import { printAnswer } from "../output/format.ts";
import { showImage } from "../output/images.ts";
import { createProgressView } from "../output/progress.ts";
import { type RegistryOptions, registryHelp, withRegistry } from "../registry.ts";
import type { Terminal } from "../terminal.ts";

interface ImportOptions extends CommonOptions, RegistryOptions {
  readonly kernel?: string;
  readonly initrd?: string;
  readonly cmdline?: string;
  readonly format?: ImageFormat;
  readonly disk?: string;
}

const formats: readonly ImageFormat[] = ["raw", "qcow2", "vmdk", "vhdx", "vhd", "ova"];

export function imageImportCommand(terminal: Terminal): Command {
  return leafCommand("import", "Bring a disk image into the registry.")
    .argument("<file>", `an image that stands alone: ${formats.join(", ")}`)
    .argument("<ref>", "what to call it, such as debian:12")
    .addOption(new Option("--format <format>", "what the file is (default: by its content)").choices(formats))
    .option("--disk <disk>", "which disk of an OVA with several: its id or its file's name")
    .option("--kernel <file>", "a kernel, for guests without a boot loader")
    .option("--initrd <file>", "its initial RAM disk")
    .option("--cmdline <text>", "its command line")
    .option("--registry <url>", registryHelp)
    .action((file: string, reference: string, options: ImportOptions) =>
      importImage(terminal, file, reference, options),
    );
}

/** The bytes go to the registry over HTTP from here; no service is asked. */
function importImage(terminal: Terminal, file: string, reference: string, options: ImportOptions): Promise<void> {
  return withRegistry(terminal, options, async (registry) => {
    const { importVmImage, mediaTypes, parseReference } = await import("#libs/oci");
    const progress = createProgressView(terminal);
    const { repository, tag = "" } = parseReference(reference);
    const { digest, virtualSizeBytes } = await importVmImage({
      registry,
      reference,
      file: resolve(file),
      read: { format: options.format, disk: options.disk },
      ...bootParts(options),
      signal: terminal.signal,
      onProgress: ({ doneBytes, totalBytes }) =>
        progress.update({ what: `importing ${reference}`, bytesDone: doneBytes, bytesTotal: totalBytes }),
    }).finally(() => progress.end());
    const { Image } = await import("#contracts/registry/v1/registry");
    const artifactType = mediaTypes.vmImage;
    const image = Image.fromPartial({ reference, repository, tag, digest, artifactType, virtualSizeBytes });
    await printAnswer(terminal, options.output, { json: Image.toJSON(image), table: () => showImage(image) });
  });
}

const bootParts = ({ kernel, initrd, cmdline }: ImportOptions) => ({
  ...(kernel === undefined ? {} : { kernel }),
  ...(initrd === undefined ? {} : { initrd }),
  ...(cmdline === undefined ? {} : { cmdline }),
});
