/** What an image of the lab is: a program of this machine. */
export interface LabImage {
  readonly entrypoint: readonly string[];
  /** The image's own ENV. PATH is the lab's unless it is here. */
  readonly environment?: Readonly<Record<string, string>>;
}

/** By name as manifests write it: `kpeering/init:dev`. */
export type LabImages = Readonly<Record<string, LabImage>>;

/** The image of a name; `:latest` and `docker.io/` may be left out on either side. */
export function findImage(images: LabImages, name: string): LabImage | undefined {
  const wanted = normal(name);
  return Object.entries(images).find(([key]) => normal(key) === wanted)?.[1];
}

function normal(name: string): string {
  const short = name.replace(/^docker\.io\/(library\/)?/, '');
  return /:[^/]+$/.test(short) ? short : `${short}:latest`;
}
