/** A picture from the camera, in a dialog. */

const WHY = {
  NotAllowedError: "The browser was not allowed to use the camera.",
  NotFoundError: "There is no camera.",
  NotReadableError: "Another program uses the camera.",
};

export const hasCamera = () => Boolean(navigator.mediaDevices?.getUserMedia);

/**
 * Set the camera's dialog up.
 * @param {HTMLDialogElement} dialog
 * @param {(file: File) => void} onPicture Gets each picture taken.
 * @returns {() => Promise<void>} Opens the dialog.
 */
export function setUpCamera(dialog, onPicture) {
  const video = dialog.querySelector("video");
  const problem = dialog.querySelector("[role=alert]");
  const take = dialog.querySelector("#take");
  let stream = null;
  let numTaken = 0;

  const stop = () => {
    for (const track of stream?.getTracks() ?? []) track.stop();
    stream = video.srcObject = null;
  };

  dialog.addEventListener("close", stop);
  dialog.querySelector("#close-camera").addEventListener("click", () => dialog.close());
  take.addEventListener("click", async () => {
    const blob = await pictureOf(video);
    numTaken += 1;
    dialog.close();
    onPicture(new File([blob], `camera-${numTaken}.jpg`, { type: blob.type }));
  });

  return async () => {
    problem.textContent = "";
    take.disabled = true;
    dialog.showModal();
    try {
      const opened = await navigator.mediaDevices.getUserMedia({
        video: { facingMode: "environment", width: { ideal: 1920 } },
      });
      stream = opened;
      // Closed while the browser asked for permission.
      if (!dialog.open) return stop();
      video.srcObject = stream;
      await video.play();
      take.disabled = false;
      take.focus();
    } catch (error) {
      problem.textContent = WHY[error.name] ?? `The camera does not work: ${error.message}`;
    }
  };
}

function pictureOf(video) {
  const canvas = document.createElement("canvas");
  [canvas.width, canvas.height] = [video.videoWidth, video.videoHeight];
  canvas.getContext("2d").drawImage(video, 0, 0);
  return new Promise((resolve) => canvas.toBlob(resolve, "image/jpeg", 0.92));
}
