//! Requests to the controller.

use nix::errno::Errno;

use super::{Bus, Socket};
use crate::outcome::Failure;
use crate::wire::attr::Attrs;
use crate::wire::genl::{self, FamilyInfo};
use crate::wire::message::NLM_F_DUMP;
use crate::wire::policy::PolicyDump;

impl Bus<'_> {
    /// The controller, with a socket for requests to it.
    pub fn controller(&self) -> Result<Controller, Failure> {
        Ok(Controller { socket: self.generic()? })
    }
}

/// A socket for requests to the controller.
pub struct Controller {
    socket: Socket,
}

impl Controller {
    /// `CTRL_CMD_GETFAMILY` by name.
    ///
    /// # Errors
    /// The outer error if there is no valid reply, the inner one for an NLMSG_ERROR.
    pub fn by_name(&self, name: &str) -> Result<Result<FamilyInfo, Errno>, Failure> {
        self.get(Attrs::new().string(genl::CTRL_ATTR_FAMILY_NAME, name))
    }

    /// `CTRL_CMD_GETFAMILY` by ID; errors as in [`Controller::by_name`].
    pub fn by_id(&self, id: u16) -> Result<Result<FamilyInfo, Errno>, Failure> {
        self.get(Attrs::new().u16(genl::CTRL_ATTR_FAMILY_ID, id))
    }

    fn get(&self, attrs: Attrs) -> Result<Result<FamilyInfo, Errno>, Failure> {
        let answer = self.socket.ask(&genl::request(genl::GENL_ID_CTRL, genl::CTRL_CMD_GETFAMILY, attrs))?;
        match answer.result() {
            Ok(()) => Ok(Ok(FamilyInfo::read(answer.reply()?))),
            Err(errno) => Ok(Err(errno)),
        }
    }

    /// The policies in a dump of `CTRL_CMD_GETPOLICY` with these attributes; errors as in
    /// [`Controller::by_name`].
    pub fn policies(&self, attrs: Attrs) -> Result<Result<PolicyDump, Errno>, Failure> {
        let request = genl::request(genl::GENL_ID_CTRL, genl::CTRL_CMD_GETPOLICY, attrs);
        let answer = self.socket.ask(&request.with(NLM_F_DUMP))?;
        Ok(answer.result().map(|()| PolicyDump::read(&answer.replies)))
    }

    /// The families in a dump of `CTRL_CMD_GETFAMILY`.
    pub fn all(&self) -> Result<Vec<FamilyInfo>, Failure> {
        let request = genl::request(genl::GENL_ID_CTRL, genl::CTRL_CMD_GETFAMILY, Attrs::new());
        let answer = self.socket.ask(&request.with(NLM_F_DUMP))?;
        answer.result()?;
        Ok(answer.replies.iter().map(FamilyInfo::read).collect())
    }
}
