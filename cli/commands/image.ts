import type { Command } from "commander";
import { allPages } from "../all-pages.ts";
import { type Api, type CommonOptions, withApi } from "../api.ts";
import { leafCommand, nounCommand } from "../leaf-command.ts";
import { printAnswer } from "../output/format.ts";
import { showImage, showImages } from "../output/images.ts";
import type { Terminal } from "../terminal.ts";
import { imageImportCommand } from "./image-import.ts";

/** stillpoint image ... */
export function imageCommand(terminal: Terminal): Command {
  const onImage = (verb: string, description: string, act: (api: Api, reference: string) => Promise<void>) =>
    leafCommand(verb, description)
      .argument("<ref>", "such as debian:12")
      .action((reference: string, options: CommonOptions) => withApi(terminal, options, (api) => act(api, reference)));
  return nounCommand("image", "Images in the registry.")
    .addCommand(imageImportCommand(terminal))
    .addCommand(
      leafCommand("list", "List images.").action((options: CommonOptions) => withApi(terminal, options, listImages)),
    )
    .addCommand(onImage("get", "Show an image.", getImage))
    .addCommand(
      leafCommand("tag", "Give an image another tag in its repository.")
        .argument("<ref>", "such as debian:12")
        .argument("<tag>", "such as stable")
        .action((reference: string, tag: string, options: CommonOptions) =>
          withApi(terminal, options, (api) => tagImage(api, reference, tag)),
        ),
    )
    .addCommand(onImage("delete", "Remove a tag, or a manifest named by digest.", deleteImage));
}

async function listImages(api: Api): Promise<void> {
  const client = await api.images();
  const images = await allPages(async (pageToken) => {
    const page = await client.listImages({ pageToken });
    return { items: page.images, next: page.nextPageToken };
  });
  const { ListImagesResponse } = await import("#contracts/registry/v1/registry");
  const json = ListImagesResponse.toJSON({ images, nextPageToken: "" });
  const table = () => showImages(images, new Date());
  await printAnswer(api.terminal, api.options.output, { json, table });
}

async function tagImage(api: Api, reference: string, tag: string): Promise<void> {
  const image = await (await api.images()).tagImage({ reference, tag });
  const { Image } = await import("#contracts/registry/v1/registry");
  await printAnswer(api.terminal, api.options.output, { json: Image.toJSON(image), table: () => showImage(image) });
}

async function getImage(api: Api, reference: string): Promise<void> {
  const image = await (await api.images()).getImage({ reference });
  const { Image } = await import("#contracts/registry/v1/registry");
  await printAnswer(api.terminal, api.options.output, { json: Image.toJSON(image), table: () => showImage(image) });
}

async function deleteImage(api: Api, reference: string): Promise<void> {
  await (await api.images()).deleteImage({ reference });
  await printAnswer(api.terminal, api.options.output, { json: {}, table: () => `Image ${reference} is deleted.` });
}
