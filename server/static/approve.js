// Signs an approval with the key in an approver's file. The file is read in this browser and is never sent: its field
// has no name, and only the key's name and the signature go into the form.
"use strict";

// What stands before the 32 bytes of a private Ed25519 key in PKCS #8 (RFC 8410 section 7).
const PREFIX = [0x30, 0x2e, 0x02, 0x01, 0x00, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x04, 0x22, 0x04, 0x20];

function decode(text) {
  if (!/^[A-Za-z0-9_-]*$/.test(text)) throw new Error("The key file is damaged. Use another copy of it.");
  return Uint8Array.from(atob(text.replaceAll("-", "+").replaceAll("_", "/")), (letter) => letter.charCodeAt(0));
}

function encode(buffer) {
  const text = btoa(String.fromCharCode(...new Uint8Array(buffer)));
  return text.replaceAll("+", "-").replaceAll("/", "_").replaceAll("=", "");
}

function read(text) {
  const lines = text.split("\n").map((line) => line.trim());
  if (lines[0] !== "roundsman approver key v1") throw new Error("This is not the file of an approver’s key.");
  const field = (name) => decode(lines.find((line) => line.startsWith(`${name}:`))?.slice(name.length + 1).trim() ?? "");
  const [open, seed] = [field("public"), field("seed")];
  if (open.length !== 32 || seed.length !== 32) throw new Error("The key file is damaged. Use another copy of it.");
  return { open, seed };
}

async function sign(text, message) {
  const { open, seed } = read(text);
  const wrapped = Uint8Array.from([...PREFIX, ...seed]);
  let secret, check;
  try {
    secret = await crypto.subtle.importKey("pkcs8", wrapped, "Ed25519", false, ["sign"]);
    check = await crypto.subtle.importKey("raw", open, "Ed25519", false, ["verify"]);
  } catch {
    throw new Error("This browser can’t sign. Use a newer one, or sign elsewhere as described below.");
  } finally {
    seed.fill(0);
    wrapped.fill(0);
  }
  const signature = await crypto.subtle.sign("Ed25519", secret, message);
  if (!(await crypto.subtle.verify("Ed25519", check, signature, message))) {
    throw new Error("The key file is damaged. Use another copy of it.");
  }
  return { key: encode(await crypto.subtle.digest("SHA-256", open)), signature: encode(signature) };
}

for (const form of document.querySelectorAll("form[data-message]")) {
  const problem = form.querySelector("[role=alert]");
  const file = form.querySelector("[type=file]");
  form.hidden = false;
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    problem.hidden = true;
    try {
      const signed = await sign(await file.files[0].text(), decode(form.dataset.message));
      form.elements.key.value = signed.key;
      form.elements.signature.value = signed.signature;
      file.value = "";
      form.submit();
    } catch (error) {
      problem.textContent = error.message;
      problem.hidden = false;
    }
  });
}
