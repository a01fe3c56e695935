import { Command, Option } from "commander";
import { formats, parseFormat } from "./output/format.ts";

const tlsFiles = { ca: "the authority's certificate", cert: "your certificate", key: "its key" };

/** A noun, whose verbs are added to it. */
export const nounCommand = (name: string, description: string): Command =>
  new Command(name).description(description).helpCommand(false);

const tlsOptions = (["ca", "cert", "key"] as const).map(
  (name) => [`--${name} <file>`, `for TLS: ${tlsFiles[name]} (default: TLS_${name.toUpperCase()})`] as const,
);

/** The options that all verbs take; `stillpoint` takes them too, before the noun, and tells of those for TLS. */
export const withCommonOptions = (command: Command, { isRoot = false } = {}): Command => {
  for (const [flags, help] of tlsOptions) command.addOption(new Option(flags, help).hideHelp(!isRoot));
  return command
    .addOption(new Option("-o, --output <format>", `${formats.join(", ")} (default: table)`).argParser(parseFormat))
    .option("--project <project>", "the project (default: default)")
    .option("--address <address>", "the server (default: STILLPOINT_ADDRESS, or 127.0.0.1:7070)");
};

const commonDefaults = { output: "table", project: "default" };

/** Gives a verb the common options that stood before its noun, and the defaults of those that stood nowhere. */
export function inheritCommonOptions(root: Command, verb: Command): void {
  for (const [name, value] of Object.entries({ ...commonDefaults, ...root.opts() })) {
    if (verb.getOptionValue(name) === undefined) verb.setOptionValue(name, value);
  }
}

/** A verb with the common options; its arguments are added by the caller. */
export const leafCommand = (name: string, description: string): Command =>
  withCommonOptions(new Command(name).description(description));

/** A noun that belongs to no project: the help of its verbs does not speak of one. */
export function ofInstallation(noun: Command): Command {
  for (const verb of noun.commands) hideOptions(verb, ["project"]);
  return noun;
}

/** Has the help of a verb say nothing of options that mean nothing there. */
export function hideOptions(verb: Command, names: readonly string[]): Command {
  for (const option of verb.options) if (names.includes(option.attributeName())) option.hideHelp();
  return verb;
}

/** A verb that starts an operation. */
export const operationLeaf = (name: string, description: string): Command =>
  leafCommand(name, description).option("--async", "do not wait: print the operation and end");
