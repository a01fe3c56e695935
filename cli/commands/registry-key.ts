import type { Command } from "commander";
import { type CommonOptions, withApi } from "../api.ts";
import { leafCommand } from "../leaf-command.ts";
import { printAnswer } from "../output/format.ts";
import type { Terminal } from "../terminal.ts";

/** stillpoint registry rotate-key */
export function registryRotateKeyCommand(terminal: Terminal): Command {
  return leafCommand("rotate-key", "Sign tokens with a new key; those that are out stay good.").action(
    (options: CommonOptions) =>
      withApi(terminal, options, async (api) => {
        const rotated = await (await api.accounts()).rotateTokenKey({});
        const table = () => `Tokens are signed with ${rotated.keyId} from now on.`;
        await printAnswer(terminal, options.output, { json: rotated, table });
      }),
  );
}
