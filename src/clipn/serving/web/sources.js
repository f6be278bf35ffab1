/** Pictures out of drops, folders and the clipboard, as files. */

const isImage = (file) => file.type.startsWith("image/");

/**
 * The files of a drop; of folders only the pictures, in the order of their names.
 * @param {DataTransfer} transfer
 * @returns {Promise<File[]>}
 */
export async function filesOfDrop(transfer) {
  // Taken before the first await: afterwards the browser empties the drop.
  const items = [...transfer.items]
    .filter(({ kind }) => kind === "file")
    .map((item) => [item.webkitGetAsEntry?.(), item.getAsFile()]);
  const files = items.map(([entry, file]) =>
    entry?.isDirectory ? imagesOfFolder(entry) : file ? [file] : [],
  );
  return (await Promise.all(files)).flat();
}

async function imagesOfFolder(folder) {
  const reader = folder.createReader();
  const entries = [];
  for (;;) {
    // A folder is told in parts, until an empty one.
    const part = await new Promise((resolve, reject) => reader.readEntries(resolve, reject));
    if (!part.length) break;
    entries.push(...part);
  }
  entries.sort((one, other) => one.name.localeCompare(other.name, undefined, { numeric: true }));
  const files = await Promise.all(
    entries.map((entry) =>
      entry.isDirectory
        ? imagesOfFolder(entry)
        : new Promise((resolve, reject) => entry.file(resolve, reject)),
    ),
  );
  return files.flat().filter(isImage);
}

let numPasted = 0;

/** Pasted pictures are all called image.png. */
function nameAnew(blob) {
  numPasted += 1;
  return new File([blob], `pasted-${numPasted}.${blob.type.slice(6)}`, { type: blob.type });
}

/**
 * The pictures of a paste.
 * @param {DataTransfer} clipboard
 * @returns {File[]}
 */
export function filesOfPaste(clipboard) {
  const files = [...clipboard.files].filter(isImage);
  return files.map((file) => (file.name === "image.png" ? nameAnew(file) : file));
}

/** Whether the clipboard can be read without a key: for phones. */
export const canReadClipboard = () => Boolean(navigator.clipboard?.read);

/**
 * The pictures on the clipboard; asks for permission.
 * @returns {Promise<File[]>}
 * @throws {DOMException} If it is not given.
 */
export async function readClipboard() {
  const files = [];
  for (const item of await navigator.clipboard.read()) {
    const type = item.types.find((one) => one.startsWith("image/"));
    if (type) files.push(nameAnew(await item.getType(type)));
  }
  return files;
}
