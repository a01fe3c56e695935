import type { Command } from "commander";
import type { AccountWithSecret, RepositoryRight } from "#contracts/registry/v1/accounts";
import { type Api, type CommonOptions, withApi } from "../api.ts";
import { leafCommand, nounCommand } from "../leaf-command.ts";
import { showAccount, showAccounts } from "../output/accounts.ts";
import { printAnswer } from "../output/format.ts";
import { parseDuration } from "../parse/duration.ts";
import { collectRight } from "../parse/right.ts";
import type { Terminal } from "../terminal.ts";
import { UsageError } from "../usage-error.ts";

interface SecretOptions extends CommonOptions {
  readonly passwordStdin?: true;
}

interface CreateOptions extends SecretOptions {
  readonly robot?: true;
  readonly right?: readonly RepositoryRight[];
  readonly expires?: { readonly seconds: number };
}

interface SetOptions extends SecretOptions {
  readonly right?: readonly RepositoryRight[];
  readonly newSecret?: true;
}

const rightHelp = "what it may do where, such as team-a/*:pull,push; may be repeated";
const passwordHelp = "read the password of a user from standard input";

/** stillpoint registry account ... */
export function registryAccountCommand(terminal: Terminal): Command {
  return nounCommand("account", "Who may pull and push.")
    .addCommand(
      leafCommand("create", "Make an account. A secret that nobody chose is shown once.")
        .argument("<name>")
        .option("--robot", "for a program: its secret is always made up")
        .option("--right <right>", rightHelp, collectRight)
        .option("--expires <duration>", "nobody gets in with it after that, such as 720h", parseDuration)
        .option("--password-stdin", passwordHelp)
        .action((name: string, options: CreateOptions) =>
          withApi(terminal, options, (api) => createAccount(api, name, options)),
        ),
    )
    .addCommand(
      leafCommand("list", "List accounts.").action((options: CommonOptions) =>
        withApi(terminal, options, listAccounts),
      ),
    )
    .addCommand(onAccount(terminal, "get", "Show an account.", getAccount))
    .addCommand(
      leafCommand("set", "Change an account's rights or its secret; both hold at once.")
        .argument("<name>")
        .option("--right <right>", `${rightHelp}; instead of those it had`, collectRight)
        .option("--new-secret", "make up a new secret and show it")
        .option("--password-stdin", passwordHelp)
        .action((name: string, options: SetOptions) =>
          withApi(terminal, options, (api) => setAccount(api, name, options)),
        ),
    )
    .addCommand(onAccount(terminal, "delete", "Remove an account; its tokens are worth nothing then.", deleteAccount));
}

function onAccount(terminal: Terminal, verb: string, help: string, act: (api: Api, name: string) => Promise<void>) {
  return leafCommand(verb, help)
    .argument("<name>")
    .action((name: string, options: CommonOptions) => withApi(terminal, options, (api) => act(api, name)));
}

async function createAccount(api: Api, name: string, options: CreateOptions): Promise<void> {
  const { robot, right = [], expires } = options;
  const secret = await readPassword(api, options);
  const made = await (await api.accounts()).createAccount({
    name: accountName(name),
    kind: robot === true ? "ACCOUNT_KIND_ROBOT" : "ACCOUNT_KIND_USER",
    rights: [...right],
    secret,
    expireTime: expires === undefined ? undefined : new Date(Date.now() + expires.seconds * 1_000),
  });
  await printSecret(api, made, `Account ${name} is made.`);
}

async function setAccount(api: Api, name: string, options: SetOptions): Promise<void> {
  const { right, newSecret, passwordStdin } = options;
  if (right === undefined && newSecret === undefined && passwordStdin === undefined) {
    throw new UsageError("nothing to change", { help: "Pass --right, --new-secret or --password-stdin." });
  }
  const accounts = await api.accounts();
  const account = right && (await accounts.setAccountRights({ name: accountName(name), rights: [...right] }));
  const changed = newSecret === true || passwordStdin === true;
  const secret = changed ? await readPassword(api, options) : "";
  const set = changed ? await accounts.setAccountSecret({ name: accountName(name), secret }) : { account, secret: "" };
  await printSecret(api, set, `Account ${name} is changed.`);
}

async function listAccounts(api: Api): Promise<void> {
  const response = await (await api.accounts()).listAccounts({});
  const { ListAccountsResponse } = await import("#contracts/registry/v1/accounts");
  const json = ListAccountsResponse.toJSON(response);
  await printAnswer(api.terminal, api.options.output, {
    json,
    table: () => showAccounts(response.accounts, new Date()),
  });
}

async function getAccount(api: Api, name: string): Promise<void> {
  const account = await (await api.accounts()).getAccount({ name: accountName(name) });
  const { Account } = await import("#contracts/registry/v1/accounts");
  const json = Account.toJSON(account);
  await printAnswer(api.terminal, api.options.output, { json, table: () => showAccount(account) });
}

async function deleteAccount(api: Api, name: string): Promise<void> {
  await (await api.accounts()).deleteAccount({ name: accountName(name) });
  await printAnswer(api.terminal, api.options.output, { json: {}, table: () => `Account ${name} is deleted.` });
}

async function printSecret(api: Api, answer: AccountWithSecret, done: string): Promise<void> {
  const { AccountWithSecret } = await import("#contracts/registry/v1/accounts");
  const secret = answer.secret === "" ? "" : `\nSecret, which is not shown again: ${answer.secret}`;
  const json = AccountWithSecret.toJSON(answer);
  await printAnswer(api.terminal, api.options.output, { json, table: () => `${done}${secret}` });
}

/** The password that was given, without the line's end; empty where the registry is to make one up. */
async function readPassword({ terminal }: Api, { passwordStdin }: SecretOptions): Promise<string> {
  if (passwordStdin !== true) return "";
  const password = Buffer.from(await terminal.readInput())
    .toString()
    .replace(/\r?\n$/, "");
  if (password === "") throw new UsageError("there is no password on standard input", { help: "Pipe it in." });
  return password;
}

const accountName = (name: string): string => `registry/accounts/${name}`;
