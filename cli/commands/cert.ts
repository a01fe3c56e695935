import { join } from "node:path";
import { Command, Option } from "commander";
import { type CertificateFacts, renderCertificates } from "../output/certificates.ts";
import { type Format, formats, parseFormat, printAnswer } from "../output/format.ts";
import { collect } from "../parse/collect.ts";
import { wholeNumber } from "../parse/whole-number.ts";
import type { Terminal } from "../terminal.ts";

interface CertOptions {
  readonly output: Format;
  readonly folder?: string;
}

interface IssueOptions extends CertOptions {
  readonly days: number;
  readonly force?: boolean;
  readonly at?: readonly string[];
}

const kinds = {
  service: ["svc", "a service: vm, container, checkpoint, scheduler, registry, operation, nats, redis or proxy"],
  host: ["host", "the agent of a host"],
  admin: ["admin", "a person, who may then do everything"],
} as const;

/** Hosts and people are known by their identity alone. */
const atDefault = { svc: "default: its name, localhost, 127.0.0.1", host: "default: none", admin: "default: none" };

/** stillpoint cert ... */
export function certCommand(terminal: Terminal): Command {
  const noun = new Command("cert")
    .helpCommand(false)
    .description("Certificates for mutual TLS, by an authority of your own.");
  noun.addCommand(
    issuing(new Command("ca").description("Make the authority. Keep its ca.key off the hosts."), 3_650).action(
      async ({ days, force, ...options }: IssueOptions) => {
        const authority = await openAuthority(options);
        await authority.create({ days, ...(force && { force }) });
        await print(terminal, options, [authority.certificate]);
      },
    ),
  );
  for (const [verb, [kind, whom]] of Object.entries(kinds)) {
    const command = new Command(verb).description(`Make a certificate for ${whom}.`).argument("<name>");
    issuing(command, 90)
      .option(
        "--at <name>",
        `DNS name or IP address where it is reached; repeatable (${atDefault[kind]})`,
        collect(String),
      )
      .action(async (name: string, { days, force, at, ...options }: IssueOptions) => {
        const authority = await openAuthority(options);
        const identity = await parseIdentity(kind, name);
        const names = at ?? (kind === "svc" ? [name, "localhost", "127.0.0.1"] : []);
        const { cert } = await authority.issue(identity, { days, names, ...(force && { force }) });
        await print(terminal, options, [cert]);
      });
    noun.addCommand(command);
  }
  noun.addCommand(natsIssuerCommand(terminal));
  return noun.addCommand(
    common(new Command("show").description("Show the authority and every certificate in the folder.")).action(
      async (options: CertOptions) => {
        const authority = await openAuthority(options);
        await print(terminal, options, authority.list());
      },
    ),
  );
}

function natsIssuerCommand(terminal: Terminal): Command {
  const what = "Make the key by which the scheduler tells NATS what hosts may do there, unless there is one; show it.";
  return common(new Command("nats-issuer").description(what))
    .option("--force", "take the place of the one that is there")
    .action(async ({ force = false, output, ...options }: CertOptions & { readonly force?: boolean }) => {
      const { makeNatsIssuer, renderIssuer } = await import("./cert-nats-issuer.ts");
      const made = await makeNatsIssuer((await openAuthority({ ...options, output })).folder, force);
      await printAnswer(terminal, output, { json: made, table: () => renderIssuer(made) });
    });
}

const common = (command: Command): Command =>
  command
    .addOption(new Option("-o, --output <format>", `${formats.join(", ")} (default: table)`).argParser(parseFormat))
    .option("--folder <folder>", "where they are kept (default: certificates in the data folder)");

const issuing = (command: Command, days: number): Command =>
  common(command)
    .option("--days <n>", "how long it is valid", wholeNumber(1, 36_500), days)
    .option("--force", "take the place of the one that is there");

async function openAuthority({ folder }: CertOptions) {
  const [{ Authority }, { defaultDataFolder }] = await Promise.all([
    import("#libs/tls"),
    import("../dev/data-folder.ts"),
  ]);
  return new Authority(folder ?? join(defaultDataFolder(), "certificates"));
}

async function parseIdentity(kind: (typeof kinds)[keyof typeof kinds][0], name: string) {
  const [{ isIdentity }, { StillpointError }] = await Promise.all([import("#libs/tls"), import("#libs/errors")]);
  const identity = `${kind}/${name}`;
  if (!isIdentity(identity)) throw new StillpointError("NAME_INVALID", `"${name}" is no name`);
  return identity;
}

async function print(terminal: Terminal, { output }: CertOptions, paths: readonly string[]): Promise<void> {
  const { readCertificate } = await import("#libs/tls");
  const certificates: CertificateFacts[] = await Promise.all(paths.map((path) => readCertificate(path)));
  await printAnswer(terminal, output, {
    json: { certificates },
    table: () => renderCertificates(certificates),
  });
}
