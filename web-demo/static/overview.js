// Shows the code an authenticator app would show, and copies what is pressed.

const code = document.getElementById("code");
const left = document.getElementById("left");
let holds = 0;

async function tick() {
  holds -= 1;
  if (holds <= 0) {
    const facts = await (await fetch("/api/overview")).json();
    code.textContent = facts.code;
    code.removeAttribute("aria-busy");
    holds = facts.code_holds_s;
  }
  left.value = holds;
}

document.addEventListener("click", async (event) => {
  const button = event.target.closest("[data-copy]");
  if (!button) return;
  await navigator.clipboard.writeText(button.textContent);
  button.classList.add("copied");
  setTimeout(() => button.classList.remove("copied"), 1200);
});

tick();
setInterval(() => tick().catch(() => { code.textContent = "······"; }), 1000);
