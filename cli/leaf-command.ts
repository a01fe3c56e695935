import { Command, Option } from "commander";
import { formats, parseFormat } from "./output/format.ts";

/** A noun, whose verbs are added to it. */
export const nounCommand = (name: string, description: string): Command =>
  new Command(name).description(description).helpCommand(false);

/** A verb, its arguments added by the caller, with the options that all take: -o, --project, --address. */
export const leafCommand = (name: string, description: string): Command =>
  new Command(name)
    .description(description)
    .addOption(new Option("-o, --output <format>", formats.join(", ")).default("table").argParser(parseFormat))
    .option("--project <project>", "the project", "default")
    .option("--address <address>", "the server (default: STILLPOINT_ADDRESS, or 127.0.0.1:7070)");

/** A verb that starts an operation. */
export const operationLeaf = (name: string, description: string): Command =>
  leafCommand(name, description).option("--async", "do not wait: print the operation and end");
