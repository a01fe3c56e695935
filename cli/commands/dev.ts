import { Command } from "commander";
import { wholeNumber } from "../parse/whole-number.ts";
import type { Terminal } from "../terminal.ts";

interface DevOptions {
  readonly data?: string;
  readonly port: number;
  readonly registryPort: number;
}

/** stillpoint dev */
export function devCommand(terminal: Terminal): Command {
  return new Command("dev")
    .description("Run everything in one process, on its own NATS and Redis. Guests go on when it ends.")
    .option(
      "--data <folder>",
      "where everything is kept (default: ~/.local/share/stillpoint; root: /var/lib/stillpoint)",
    )
    .option("--port <n>", "gRPC port on 127.0.0.1; 0 is any free one", wholeNumber(0, 65_535), 7070)
    .option("--registry-port <n>", "the registry's port; 0 is any free one", wholeNumber(0, 65_535), 7080)
    .action(async ({ data, port, registryPort }: DevOptions) => {
      const { defaultDataFolder, runDev } = await import("../dev/run-dev.ts");
      await runDev(terminal, { folder: data ?? defaultDataFolder(), port, registryPort });
    });
}
